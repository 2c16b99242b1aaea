"""From a failing example to the simplest that fails as well, one step after the other."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from pytest_xai.engine.exploration.example import Example
from pytest_xai.errors import InvalidArgument
from pytest_xai.networks import WEIGHTS, Plan, Step

__all__ = ["simplest"]

# Examples that are tried from each one on.
_TRIES = 300
# A shorter network has other weights: with some of them its defect may not show.
_SEEDS = range(6)
# Numbers of a step, and the least that they can be.
_NUMBERS = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "width": 1}


def simplest(fails: Callable[[Example], bool], example: Example) -> Example:
    """Go on from an example to simpler ones that fail as well, until there is none.

    Args:
        fails: whether an example does; to be remembered there, some are asked of again.
        example: one that does.
    """
    while True:
        tries = islice(_simpler(example), _TRIES)
        found = next((simpler for simpler in tries if fails(simpler)), None)
        if found is None:
            return example
        example = found


def _simpler(example: Example) -> Iterator[Example]:
    """Examples that are a little simpler, those with the greatest gain first."""
    for plan in _plans(example.plan):
        yield replace(example, plan=plan)
    # Last: the n-th input is explained for class n, and with the first alone a defect may not show.
    if example.images > 1:
        yield replace(example, images=example.images - 1)
    if not example.zeros:
        yield replace(example, zeros=True)


def _plans(plan: Plan) -> Iterator[Plan]:
    for steps in _shorter(plan.steps):
        yield from _fitting(plan, steps=steps)
    for shape in _smaller(plan.input_shape):
        yield from _fitting(plan, shape=shape)
    for steps in _plainer(plan.steps):
        yield from _fitting(plan, steps=steps)
    if plan.dtype != "float32" or plan.channels_last:
        yield replace(plan, dtype="float32", channels_last=False)
    kinds = list(WEIGHTS)
    for weights in kinds[: kinds.index(plan.weights)]:
        yield replace(plan, weights=weights)


def _fitting(
    plan: Plan,
    *,
    shape: tuple[int, ...] | None = None,
    steps: tuple[Step, ...] | None = None,
) -> Iterator[Plan]:
    """The plan with another shape or other steps, with some seeds, where that is a network."""
    for seed in dict.fromkeys((plan.seed, *_SEEDS)):
        try:
            made = replace(
                plan, input_shape=shape or plan.input_shape, steps=steps or plan.steps, seed=seed
            )
        except InvalidArgument:
            return
        if made.classes > 1:
            yield made


def _shorter(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """The steps without one of them, inside forks as well, and forks as what is inside."""
    for place, step in enumerate(steps):
        before, after = steps[:place], steps[place + 1 :]
        if before or after:
            yield (*before, *after)
        if step.inner:
            yield (*before, *step.inner, *after)
        for inner in _shorter(step.inner):
            yield (*before, replace(step, inner=inner), *after)


def _smaller(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The shape without an axis of space, and with one axis shorter."""
    if len(shape) > 2:
        yield shape[:-1]
    for axis, size in enumerate(shape):
        if size > 1:
            yield (*shape[:axis], size - 1, *shape[axis + 1 :])


def _plainer(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """The steps with one number of one of them smaller."""
    for place, step in enumerate(steps):
        for name, least in _NUMBERS.items():
            value = getattr(step, name)
            if value > least:
                smaller = replace(step, **{name: value - 1})
                yield (*steps[:place], smaller, *steps[place + 1 :])
