"""Maps of one explainer on models whose weights are drawn anew: what the checks here share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pytest_xai.anatomy import layers
from pytest_xai.bench import Bench
from pytest_xai.checks.randomisation.similarities import FIGURE, Form
from pytest_xai.containment import Guard
from pytest_xai.errors import NotApplicable
from pytest_xai.guests import called
from pytest_xai.nulls import halfway, partners
from pytest_xai.perturbations.cascade import redraw
from pytest_xai.protocol import NamedExplainer
from pytest_xai.seeds import seeded
from pytest_xai.verdict import Finding

__all__ = [
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
        names = called("the model", lambda: layers(model, bench.inputs[:1]))
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


@dataclass(slots=True)
class _Group:
    """Similarities of a group's maps to the original ones, a tensor for each step."""

    original: Tensor
    steps: list[dict[str, Tensor]] = field(default_factory=list)
    last: Tensor = field(default_factory=lambda: torch.empty(0))


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
    names, kept = layer_names(bench), dict[str, None]()
    groups = []
    for images, maps in draws(bench, explainer, explain):
        group, before = _Group(maps), Form(maps)
        for guard in redrawn(images, names, order, kept=kept):
            group.last = explain(images, explainer, guard)
            group.steps.append(Form(group.last).like(before))
        groups.append(group)
    original = torch.cat([group.original for group in groups])
    null = Form(original).like(Form(original[partners(bench.targets)]))
    steps = {
        name: torch.cat([torch.stack([s[name] for s in group.steps], 1) for group in groups])
        for name in null
    }
    first, last = (steps[FIGURE][:, at] for at in (0, -1))
    return compared(
        bench,
        {name: similar.nanmean(1) for name, similar in steps.items()},
        null,
        facts={ends[0]: first, ends[1]: last},
        tensors={
            "map": original,
            f"map, {ends[1]}": torch.cat([group.last for group in groups]),
        },
        notes=said_of_kept(kept),
    )


def compared(
    bench: Bench,
    similar: Mapping[str, Tensor],
    null: Mapping[str, Tensor],
    *,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Tensor] | None = None,
    notes: tuple[str, ...] = (),
) -> Finding:
    """Hold the rank correlation of maps that ought to differ to that of unrelated maps.

    Args:
        bench: the images.
        similar: similarities of maps that ought to differ, see `similarities.Form.like`.
        null: the same of unrelated maps.
        tensors: the maps.
        facts: further numbers that are shown.
        notes: sentences that belong to the verdict.
    """
    shown = {"unrelated maps": null[FIGURE], **(facts or {})}
    for name in [name for name in null if name != FIGURE]:
        shown |= {name: similar[name], f"{name} of unrelated maps": null[name]}
    values = similar[FIGURE]
    return Finding(
        values=values,
        # Maps of two classes that mirror each other are opposites, which is not unrelated.
        limits=halfway(1.0, null[FIGURE].clamp_min(0)),
        value_range=(-1.0, 1.0),
        facts=shown,
        tensors={"input": bench.inputs, **tensors},
        left_out={"constant maps": int((values + null[FIGURE]).isnan().sum())},
        cause="The map shows the input, not the model: it would look the same for a model that "
        "has learned nothing.",
        notes=notes,
    )


def said_of_kept(kept: dict[str, None]) -> tuple[str, ...]:
    """A sentence about what could not be drawn, if there is any."""
    if not kept:
        return ()
    names = list(kept)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (f"Not drawn anew, as nothing says how: {', '.join(names[:_NAMED])}{more}.",)
