"""Construction of a well-formed network: building blocks are adapted to fit, or dropped."""

import math
from collections.abc import Iterable
from dataclasses import replace

from pytest_xai.networks.draft import Draft
from pytest_xai.networks.kinds import fits
from pytest_xai.networks.step import Step

__all__ = ["CLASSES", "grow"]

CLASSES = range(2, 7)  # numbers of features that can be the outputs themselves
_ELEMENTS = 160  # more elements make networks slow and hard to read
_LAYERS = frozenset({"conv", "linear", "shared-conv", "shared-linear"})


def grow(
    draft: Draft,
    blocks: Iterable[tuple[Step, ...]],
    *,
    allowed: frozenset[str],
    max_layers: int,
    head: int,
) -> tuple[Step, ...]:
    """Return steps that are similar to the building blocks and end in outputs (classes,).

    Args:
        draft: an empty draft with the shape of the inputs.
        blocks: sequences of steps, which need not fit. A layer becomes a linear layer on a table
            and a convolution otherwise; a width of 0 means the width of its input.
        allowed: structures that may occur.
        max_layers: maximum number of steps, at least 2.
        head: features of a linear layer at the end; 0: add a linear layer only if necessary.
    """
    steps: tuple[Step, ...] = ()
    for block in blocks:
        longer, more = _extended(draft, block)
        room = max_layers - _layers(steps + more)
        if longer is not None and longer.structures <= allowed and _closing(longer) <= room:
            draft, steps = longer, steps + more
    return steps + _ending(draft, head=head, room=max_layers - _layers(steps), bare=not steps)


def _layers(steps: tuple[Step, ...]) -> int:
    return sum(step.layers for step in steps)


def _extended(draft: Draft, block: Iterable[Step]) -> tuple[Draft | None, tuple[Step, ...]]:
    """Return the draft with the adapted block, and the block; None if the block cannot fit."""
    longer: Draft | None = draft
    steps: tuple[Step, ...] = ()
    for each in block:
        if longer is None:
            break
        steps += (_adapted(each, longer),)
        longer = fits(steps[-1], longer)
    fitting = longer is not None and math.prod(longer.shape) <= _ELEMENTS
    return longer if fitting else None, steps


def _closing(draft: Draft) -> int:
    """Return the number of steps that are needed from here to the outputs."""
    return bool(draft.rank) + (math.prod(draft.shape) not in CLASSES)


def _ending(draft: Draft, *, head: int, room: int, bare: bool) -> tuple[Step, ...]:
    flat = (Step("flatten"),) if draft.rank else ()
    needed = math.prod(draft.shape) not in CLASSES or (bare and not flat)
    if needed or (head and len(flat) < room):
        return (*flat, Step("linear", width=head or 2))
    return flat


def _adapted(step: Step, draft: Draft) -> Step:
    if step.inner:
        return _fork(step, draft)
    if step.kind in _LAYERS:
        return _layer(step, draft)
    if step.kind == "group-norm":
        return replace(step, groups=math.gcd(step.groups, draft.shape[0]))
    return step


def _layer(step: Step, draft: Draft) -> Step:
    shared = "shared-" if step.kind.startswith("shared-") else ""
    if not draft.rank or shared:
        width = 1 if shared else step.width or draft.shape[0]
        return Step(f"{shared}{'conv' if draft.rank else 'linear'}", width=width)
    channels = draft.shape[0]
    # More than two groups mean a depthwise convolution.
    groups = channels if step.groups > 2 else math.gcd(step.groups, channels)
    reach = min(draft.shape[1:]) + 2 * step.padding
    kernel = min(step.kernel, reach)
    dilation = min(step.dilation, (reach - 1) // (kernel - 1)) if kernel > 1 else 1
    width = -(-(step.width or channels) // groups) * groups
    return replace(step, kind="conv", width=width, kernel=kernel, dilation=dilation, groups=groups)


def _fork(step: Step, draft: Draft) -> Step:
    """Return the fork with adapted inner steps, which keep the shape where the fork needs it."""
    inside: Draft = replace(draft.copy(), last="")
    inner: tuple[Step, ...] = ()
    for each in step.inner:
        longer, more = _extended(inside, [each])
        if longer is not None:
            inside, inner = longer, inner + more
    keeping = Step("conv" if draft.rank else "linear", width=draft.shape[0])
    exact = step.kind in {"residual", "product"} and inside.shape[0] != draft.shape[0]
    if not inner or exact:
        inner = (*inner, keeping)
    return replace(step, inner=inner)
