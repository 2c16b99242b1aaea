"""Compares the maps of an explainer before and after weights are re-initialised."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import call_with_model
from pytest_xai.checks.randomisation._similarities import FIGURE, PreparedMaps
from pytest_xai.core.finding import Finding
from pytest_xai.core.model_layers import layers
from pytest_xai.core.seeds import seeded
from pytest_xai.errors import NotApplicable
from pytest_xai.measures.reference_maps import halfway, other_images
from pytest_xai.perturbations.cascade import redraw
from pytest_xai.protocol import NamedExplainer, named

__all__ = [
    "GRADIENT",
    "Explain",
    "compared",
    "draws",
    "layer_names",
    "notes_on_kept",
    "plainly",
    "randomised",
    "reinitialised",
]

# Images that share re-initialised weights: as many as fit in one batch of the largest inputs. So a
# round has two sets of weights or more, and large models need no smaller batches.
_PER_DRAW = 16
_NAMED = 4
_GRADIENTS = f"{FIGURE} of the model's own gradients"

_BLIND = (
    "The map shows the input, not the model: it would look similar for a model with random weights."
)
_CONSTANT = (
    "The map is constant: it highlights nothing, for this model and for one with random weights."
)


def _gradient(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    with torch.enable_grad():
        images = inputs.detach().clone().requires_grad_()
        scores = model(images).gather(1, targets[:, None]).sum()
        return torch.autograd.grad(scores, images, materialize_grads=True)[0]


GRADIENT = named(_gradient)

# A function from (images, explainer, guard of another model or None) to maps.
Explain = Callable[[Bench, NamedExplainer, Guard | None], Tensor]


def plainly(bench: Bench, explainer: NamedExplainer, on: Guard | None) -> Tensor:
    """Return maps of the bench's images, for the subject's model or for another one."""
    return bench.maps(explainer) if on is None else bench.explain(explainer, bench.inputs, on=on)


def draws(
    bench: Bench, explainer: NamedExplainer, explain: Explain = plainly
) -> Iterator[tuple[Bench, Tensor]]:
    """Yield the images in groups that share weights, with their maps on the trained model.

    The maps of a stochastic explainer are made group by group. So its noise has the same seed
    before and after, and is not mistaken for a change.
    """
    size = min(_PER_DRAW, bench.batch_size)
    groups = [
        bench.view(start, min(start + size, len(bench))) for start in range(0, len(bench), size)
    ]
    if explainer.traits.stochastic:
        yield from ((group, explain(group, explainer, None)) for group in groups)
    else:
        maps = explain(bench, explainer, None)
        yield from zip(groups, maps.split(size), strict=True)


def layer_names(bench: Bench) -> list[str]:
    """Return the names of the model's layers in the order of execution.

    Raises:
        NotApplicable: the model has no layers with parameters.
    """
    model = bench.subject.model
    with bench.guard.watch(), seeded(0):
        names = call_with_model(lambda: layers(model, bench.inputs[:1]))
    if not names:
        raise NotApplicable("the model has no parameters")
    return names


def reinitialised(
    bench: Bench, names: Sequence[str], order: str, *, kept: dict[str, None], draw: int = 0
) -> Iterator[Guard]:
    """Yield the guarded model after each step of an order; it is one copy that changes.

    Args:
        bench: of the images that share the weights.
        names: see `layer_names`.
        order: see `pytest_xai.perturbations.cascade.redraw`.
        kept: collects the names of parameters that could not be re-initialised.
        draw: another number gives other weights.
    """
    model = bench.copied_model()
    guard = Guard(model)
    seed = bench.derive_seed("weights", bench.images[0], draw)
    for step in redraw(model, names, order=order, seed=seed):
        kept.update(dict.fromkeys(step.kept))
        for layer in step.touched:
            guard.refresh(layer)
        yield guard


@dataclass(frozen=True, slots=True)
class _Steps:
    """The original maps, their similarities to each step, (n, steps) by name, and the last maps."""

    original: PreparedMaps
    similar: Mapping[str, Tensor]
    last: Tensor

    @property
    def figures(self) -> Tensor:
        """The mean similarity over the steps, (n,)."""
        steps = self.similar[FIGURE]
        # The map of a neuron that is off is rightly constant; a single step may change that.
        return torch.where(self.original.constant, steps.amin(1), steps.nanmean(1))


def _compare_steps(
    bench: Bench, explainer: NamedExplainer, order: str, explain: Explain, kept: dict[str, None]
) -> _Steps:
    names = layer_names(bench)
    originals, similar, lasts = [], [], []
    for images, maps in draws(bench, explainer, explain):
        before, steps = PreparedMaps(maps), []
        for guard in reinitialised(images, names, order, kept=kept):
            last = explain(images, explainer, guard)
            steps.append(PreparedMaps(last).like(before))
        originals.append(maps)
        lasts.append(last)
        similar.append({name: torch.stack([s[name] for s in steps], 1) for name in steps[0]})
    return _Steps(
        PreparedMaps(torch.cat(originals)),
        {name: torch.cat([group[name] for group in similar]) for name in similar[0]},
        torch.cat(lasts),
    )


def randomised(
    bench: Bench,
    explainer: NamedExplainer,
    order: str,
    *,
    ends: tuple[str, str],
    explain: Explain = plainly,
) -> Finding:
    """Compare the mean similarity over the steps of an order with that of unrelated maps.

    Args:
        bench: the images of a round.
        explainer: makes the maps.
        order: see `pytest_xai.perturbations.cascade.redraw`.
        ends: words for the first and the last step, such as "after re-initialising the head".
        explain: calls the explainer.
    """
    kept = dict[str, None]()
    compared_steps = _compare_steps(bench, explainer, order, explain, kept)
    means = {name: steps.nanmean(1) for name, steps in compared_steps.similar.items()}
    first, last = (compared_steps.similar[FIGURE][:, at] for at in (0, -1))
    found = compared(
        bench,
        compared_steps.original,
        means | {FIGURE: compared_steps.figures},
        of_gradients=lambda: _compare_steps(bench, GRADIENT, order, explain, kept).figures,
        facts={f"{FIGURE} {ends[0]}": first, f"{FIGURE} {ends[1]}": last},
        tensors={"map": compared_steps.original.maps, f"map {ends[1]}": compared_steps.last},
    )
    return replace(found, notes=notes_on_kept(kept))


def compared(
    bench: Bench,
    original: PreparedMaps,
    similar: Mapping[str, Tensor],
    *,
    tensors: Mapping[str, Tensor],
    of_gradients: Callable[[], Tensor] | None = None,
    facts: Mapping[str, Tensor] | None = None,
) -> Finding:
    """Compare the rank correlation of maps that ought to differ with that of unrelated maps.

    Args:
        bench: the images.
        original: their maps.
        similar: similarities of maps that ought to differ, see `PreparedMaps.like`.
        tensors: the maps, for pictures.
        of_gradients: returns the figures of the model's own gradient. It is called where the maps
            would fail, and they need not differ more than gradients do. Where the output depends
            on the input through a single number, right maps are sign-flipped, but not changed
            otherwise.
        facts: further numbers for the report.
    """
    null = PreparedMaps(original.maps[other_images(bench.targets)]).like(original)
    # Two constant maps are equal. Without this, no image of an explainer whose maps are always
    # constant could be judged.
    null[FIGURE] = null[FIGURE].masked_fill(original.constant, 0)
    shown = {f"{FIGURE} of unrelated maps": null[FIGURE], **(facts or {})}
    for name in [name for name in null if name != FIGURE]:
        shown |= {name: similar[name], f"{name} of unrelated maps": null[name]}
    values = similar[FIGURE]
    limits = halfway(1.0, null[FIGURE])
    if of_gradients and bench.differentiable and values.nanmean() > limits.nanmean():
        shown[_GRADIENTS] = of_gradients()
        limits = torch.fmax(limits, halfway(1.0, shown[_GRADIENTS]))
    return Finding(
        values=values,
        limits=limits,
        limit_range=(0.5, 1.0),
        facts=shown,
        tensors={"input": bench.inputs, **tensors},
        left_out={"constant maps": int((values + limits).isnan().sum())},
        cause=_CONSTANT if original.constant.all() else _BLIND,
    )


def notes_on_kept(kept: dict[str, None]) -> tuple[str, ...]:
    """Return a sentence about parameters that could not be re-initialised, if there are any."""
    if not kept:
        return ()
    names = list(kept)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (f"Not re-initialised, because no rule is known: {', '.join(names[:_NAMED])}{more}.",)
