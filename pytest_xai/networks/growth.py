"""From wishes to a well-formed network: every wish is bent until it fits, or dropped."""

import math
from collections.abc import Iterable
from dataclasses import replace

from pytest_xai.networks.draft import Draft
from pytest_xai.networks.kinds import fits
from pytest_xai.networks.step import Step

__all__ = ["CLASSES", "grow"]

CLASSES = range(2, 7)  # as many features can be the outputs themselves
_ELEMENTS = 160  # more make slow networks that nobody can read
_LAYERS = frozenset({"conv", "linear", "shared-conv", "shared-linear"})


def grow(
    draft: Draft,
    wishes: Iterable[tuple[Step, ...]],
    *,
    allowed: frozenset[str],
    max_layers: int,
    head: int,
) -> tuple[Step, ...]:
    """Steps that start from a draft, are like the wishes, and end in outputs (classes,).

    Args:
        draft: the input, nothing written yet.
        wishes: steps in a row that go together and need not fit. A layer is a linear layer on a
            table and else a convolution, and of width 0 as wide as what comes in.
        allowed: structures that may be met.
        max_layers: the most steps; from 2 on.
        head: features of a linear layer at the end; 0: only where no outputs are there without.
    """
    steps: tuple[Step, ...] = ()
    for wish in wishes:
        longer, more = _continued(draft, wish)
        room = max_layers - _layers(steps + more)
        if longer is not None and longer.structures <= allowed and _closing(longer) <= room:
            draft, steps = longer, steps + more
    return steps + _ending(draft, head=head, room=max_layers - _layers(steps), bare=not steps)


def _layers(steps: tuple[Step, ...]) -> int:
    return sum(step.layers for step in steps)


def _continued(draft: Draft, wish: Iterable[Step]) -> tuple[Draft | None, tuple[Step, ...]]:
    """The draft with the wish bent to fit, and the wish; None: it cannot be."""
    longer: Draft | None = draft
    steps: tuple[Step, ...] = ()
    for each in wish:
        if longer is None:
            break
        steps += (_bent(each, longer),)
        longer = fits(steps[-1], longer)
    fitting = longer is not None and math.prod(longer.shape) <= _ELEMENTS
    return longer if fitting else None, steps


def _closing(draft: Draft) -> int:
    """How many steps it takes from here to the outputs."""
    return bool(draft.rank) + (math.prod(draft.shape) not in CLASSES)


def _ending(draft: Draft, *, head: int, room: int, bare: bool) -> tuple[Step, ...]:
    flat = (Step("flatten"),) if draft.rank else ()
    needed = math.prod(draft.shape) not in CLASSES or (bare and not flat)
    if needed or (head and len(flat) < room):
        return (*flat, Step("linear", width=head or 2))
    return flat


def _bent(wish: Step, draft: Draft) -> Step:
    if wish.inner:
        return _fork(wish, draft)
    if wish.kind in _LAYERS:
        return _layer(wish, draft)
    if wish.kind == "group-norm":
        return replace(wish, groups=math.gcd(wish.groups, draft.shape[0]))
    return wish


def _layer(wish: Step, draft: Draft) -> Step:
    shared = "shared-" if wish.kind.startswith("shared-") else ""
    if not draft.rank or shared:
        width = 1 if shared else wish.width or draft.shape[0]
        return Step(f"{shared}{'conv' if draft.rank else 'linear'}", width=width)
    channels = draft.shape[0]
    # Three groups stand for one each: depthwise.
    groups = channels if wish.groups > 2 else math.gcd(wish.groups, channels)
    reach = min(draft.shape[1:]) + 2 * wish.padding
    kernel = min(wish.kernel, reach)
    dilation = min(wish.dilation, (reach - 1) // (kernel - 1)) if kernel > 1 else 1
    width = -(-(wish.width or channels) // groups) * groups
    return replace(wish, kind="conv", width=width, kernel=kernel, dilation=dilation, groups=groups)


def _fork(wish: Step, draft: Draft) -> Step:
    """The fork, with steps inside that fit one after the other and that give the shape back."""
    inside: Draft = replace(draft.copy(), last="")
    inner: tuple[Step, ...] = ()
    for each in wish.inner:
        longer, more = _continued(inside, [each])
        if longer is not None:
            inside, inner = longer, inner + more
    keeping = Step("conv" if draft.rank else "linear", width=draft.shape[0])
    exact = wish.kind in {"residual", "product"} and inside.shape[0] != draft.shape[0]
    if not inner or exact:
        inner = (*inner, keeping)
    return replace(wish, inner=inner)
