"""Maps of one explainer on models whose weights are drawn anew: what the checks here share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import call_with_model
from pytest_xai.checks.randomisation._similarities import FIGURE, Form
from pytest_xai.core.model_layers import layers
from pytest_xai.core.seeds import seeded
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures.reference_maps import halfway, partners
from pytest_xai.perturbations.cascade import redraw
from pytest_xai.protocol import NamedExplainer, named

__all__ = [
    "GRADIENT",
    "Explain",
    "compared",
    "draws",
    "layer_names",
    "plainly",
    "randomised",
    "redrawn",
    "said_of_kept",
]

# Images that share a draw of the weights. As many as fit one batch of the largest inputs: a round
# has two draws or more, and large models no smaller batches for it.
_PER_DRAW = 16
_NAMED = 4

_BLIND = (
    "The map shows the input, not the model: it would look the same for a model that has learned "
    "nothing."
)
_CONSTANT = (
    "The map is constant: it points to no place, for this model and for one that has learned "
    "nothing."
)


def _gradient(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    with torch.enable_grad():
        images = inputs.detach().clone().requires_grad_()
        scores = model(images).gather(1, targets[:, None]).sum()
        return torch.autograd.grad(scores, images, materialize_grads=True)[0]


GRADIENT = named(_gradient)

# (images, explainer, guard of another model or None) to maps.
Explain = Callable[[Bench, NamedExplainer, Guard | None], Tensor]


def plainly(bench: Bench, explainer: NamedExplainer, on: Guard | None) -> Tensor:
    """The explainer's maps of the bench's images, of the subject's model or another one."""
    return bench.maps(explainer) if on is None else bench.explain(explainer, bench.inputs, on=on)


def draws(
    bench: Bench, explainer: NamedExplainer, explain: Explain = plainly
) -> Iterator[tuple[Bench, Tensor]]:
    """The images in groups, each for a draw of its own, with their maps on the trained model.

    A stochastic explainer's maps are made group by group: its noise has then the same seed before
    and after, and noise is not taken for a change.
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
    """The model's layers in the order of execution.

    Raises:
        NotApplicable: it has none.
    """
    model = bench.subject.model
    with bench.guard.watch(), seeded(0):
        names = call_with_model(lambda: layers(model, bench.inputs[:1]))
    if not names:
        raise NotApplicable("the model has no parameters")
    return names


def redrawn(
    bench: Bench, names: Sequence[str], order: str, *, kept: dict[str, None], draw: int = 0
) -> Iterator[Guard]:
    """The model after each step of an order, each time the same copy, guarded.

    Args:
        bench: of the images that share the draw.
        names: see `layer_names`.
        order: see `pytest_xai.perturbations.cascade.redraw`.
        kept: takes up the names of what could not be drawn.
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
    """Original maps, their similarities to those of each step, (n, steps) by name, and the last."""

    original: Form
    similar: Mapping[str, Tensor]
    last: Tensor

    @property
    def figures(self) -> Tensor:
        """The mean similarity over the steps, (n,)."""
        steps = self.similar[FIGURE]
        # Of a neuron that is off, maps are constant rightly: a single step may change that.
        return torch.where(self.original.constant, steps.amin(1), steps.nanmean(1))


def _walked(
    bench: Bench, explainer: NamedExplainer, order: str, explain: Explain, kept: dict[str, None]
) -> _Steps:
    names = layer_names(bench)
    originals, similar, lasts = [], [], []
    for images, maps in draws(bench, explainer, explain):
        before, steps = Form(maps), []
        for guard in redrawn(images, names, order, kept=kept):
            last = explain(images, explainer, guard)
            steps.append(Form(last).like(before))
        originals.append(maps)
        lasts.append(last)
        similar.append({name: torch.stack([s[name] for s in steps], 1) for name in steps[0]})
    return _Steps(
        Form(torch.cat(originals)),
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
    """Hold the mean similarity over the steps of an order to the null.

    Args:
        bench: the images of a round.
        explainer: whose maps.
        order: see `pytest_xai.perturbations.cascade.redraw`.
        ends: what to call the similarity after the first step and after the last.
        explain: makes the maps.
    """
    kept = dict[str, None]()
    walked = _walked(bench, explainer, order, explain, kept)
    means = {name: steps.nanmean(1) for name, steps in walked.similar.items()}
    first, last = (walked.similar[FIGURE][:, at] for at in (0, -1))
    found = compared(
        bench,
        walked.original,
        means | {FIGURE: walked.figures},
        of_gradients=lambda: _walked(bench, GRADIENT, order, explain, kept).figures,
        facts={ends[0]: first, ends[1]: last},
        tensors={"map": walked.original.maps, f"map, {ends[1]}": walked.last},
    )
    return replace(found, notes=said_of_kept(kept))


def compared(
    bench: Bench,
    original: Form,
    similar: Mapping[str, Tensor],
    *,
    tensors: Mapping[str, Tensor],
    of_gradients: Callable[[], Tensor] | None = None,
    facts: Mapping[str, Tensor] | None = None,
) -> Finding:
    """Hold the rank correlation of maps that ought to differ to that of unrelated maps.

    Args:
        bench: the images.
        original: their maps.
        similar: similarities to them of maps that ought to differ, see `similarities.Form.like`.
        tensors: the maps.
        of_gradients: gives the figures of the model's own gradient. It is asked where the maps
            would fail, and they need not differ more: where all that the model has learned goes
            through a single number, right maps too are turned over, but not otherwise changed.
        facts: further numbers that are shown.
    """
    null = Form(original.maps[partners(bench.targets)]).like(original)
    # Two constant maps are equal: of an explainer that always gives one, no image could tell.
    null[FIGURE] = null[FIGURE].masked_fill(original.constant, 0)
    shown = {"unrelated maps": null[FIGURE], **(facts or {})}
    for name in [name for name in null if name != FIGURE]:
        shown |= {name: similar[name], f"{name} of unrelated maps": null[name]}
    values = similar[FIGURE]
    limits = halfway(1.0, null[FIGURE])
    if of_gradients and bench.differentiable and values.nanmean() > limits.nanmean():
        shown["gradients"] = of_gradients()
        limits = torch.fmax(limits, halfway(1.0, shown["gradients"]))
    return Finding(
        values=values,
        limits=limits,
        limit_range=(0.5, 1.0),
        facts=shown,
        tensors={"input": bench.inputs, **tensors},
        left_out={"constant maps": int((values + limits).isnan().sum())},
        cause=_CONSTANT if original.constant.all() else _BLIND,
    )


def said_of_kept(kept: dict[str, None]) -> tuple[str, ...]:
    """A sentence about what could not be drawn, if there is any."""
    if not kept:
        return ()
    names = list(kept)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (f"Not drawn anew, as nothing says how: {', '.join(names[:_NAMED])}{more}.",)
