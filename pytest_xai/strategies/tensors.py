"""Strategies for inputs, targets, baselines and perturbations, which shrink to simple numbers."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor

from pytest_xai.errors import InvalidArgument
from pytest_xai.perturbations import random_direction

__all__ = ["baselines", "inputs", "perturbations", "targets"]

T = TypeVar("T")

# Up to this many numbers are drawn and shrink one by one; larger tensors are drawn from a seed.
_ONE_BY_ONE = 128
_STEPS = 8  # number of levels between the middle of the range and each end


def inputs(
    shape: Sequence[int],
    *,
    count: int = 2,
    bounds: tuple[float, float] = (-2.0, 2.0),
    dtype: torch.dtype = torch.float32,
) -> st.SearchStrategy[Tensor]:
    """Draw inputs (count, *shape) with values on a grid between the bounds.

    Small inputs shrink number by number to the middle of the bounds, large ones to a small seed.

    Args:
        shape: shape of one input, without the batch.
        count: number of inputs, at least 1.
        bounds: (low, high), low < high.
        dtype: a floating dtype.

    Raises:
        InvalidArgument: an argument does not meet its description.
    """
    sizes = _sizes(shape, count)
    low, high = bounds
    if not low < high:
        raise InvalidArgument.of("bounds", got=repr(bounds), expected="(low, high), low < high")
    if not dtype.is_floating_point:
        raise InvalidArgument.of("dtype", got=str(dtype), expected="a floating dtype")
    middle, step = (low + high) / 2, (high - low) / 2 / _STEPS

    def laid_out(levels: Tensor) -> Tensor:
        return (middle + step * levels.to(torch.float64)).clamp(low, high).reshape(sizes).to(dtype)

    return _shown(_levels(math.prod(sizes)), laid_out)


def targets(classes: int, *, count: int = 2) -> st.SearchStrategy[Tensor]:
    """Draw targets (count,) from 0 to classes - 1, int64; they shrink to 0.

    Args:
        classes: number of classes, at least 1.
        count: number of targets, at least 1.

    Raises:
        InvalidArgument: an argument does not meet its description.
    """
    if classes < 1:
        raise InvalidArgument.of("classes", got=repr(classes), expected="1 or more")
    _sizes((), count)
    one = st.integers(0, classes - 1)
    return _shown(st.lists(one, min_size=count, max_size=count), torch.tensor)


def baselines(
    shape: Sequence[int],
    *,
    bounds: tuple[float, float] = (-2.0, 2.0),
    dtype: torch.dtype = torch.float32,
) -> st.SearchStrategy[Tensor]:
    """Draw baselines (1, *shape): zeros if within the bounds, one value, or values on a grid.

    Args:
        shape: shape of one input, without the batch.
        bounds: (low, high), low < high.
        dtype: a floating dtype.

    Raises:
        InvalidArgument: an argument does not meet its description.
    """
    varied = inputs(shape, count=1, bounds=bounds, dtype=dtype)
    zeros = torch.zeros(_sizes(shape, 1), dtype=dtype)
    one = inputs((1,), count=1, bounds=bounds, dtype=dtype)
    flat = _shown(one, lambda value: torch.full_like(zeros, value.item()))
    none = [st.builds(zeros.clone)] if bounds[0] <= 0 <= bounds[1] else []
    return st.one_of(*none, flat, varied)


def perturbations(
    inputs: Tensor,
    *,
    norm: float,
    bounds: tuple[float, float] | None = None,
) -> st.SearchStrategy[Tensor]:
    """Draw steps of a given L2 norm, to be added to the inputs.

    A step is either the same shift of every feature, up or down, or noise in a uniformly
    distributed direction. Steps shrink to the shift upwards.

    Args:
        inputs: finite, floating (N, *shape).
        norm: L2 norm of each step, 0 or more.
        bounds: (low, high), the range of the inputs and of the inputs plus the noise. The noise
            is adapted to them as in `random_direction`, and no shifts are drawn. None: no bounds.

    Raises:
        InvalidArgument: an argument does not meet its description. Inputs and bounds are checked
            when a step is drawn.
    """
    if not 0 <= norm < math.inf:
        raise InvalidArgument.of("norm", got=repr(norm), expected="a finite number of 0 or more")

    def noise(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return random_direction(inputs, norm=norm, bounds=bounds, generator=generator)

    drawn = _shown(st.integers(0, 2**16), noise)
    if bounds is not None:
        return drawn
    each = norm / math.sqrt(inputs[0].numel())
    shifts = _shown(st.sampled_from((each, -each)), lambda step: torch.full_like(inputs, step))
    return st.one_of(shifts, drawn)


@st.composite
def _shown(draw: st.DrawFn, strategy: st.SearchStrategy[T], make: Callable[[T], Tensor]) -> Tensor:
    """Like ``strategy.map(make)``, but a failing test prints the tensor instead of the call."""
    return make(draw(strategy))


def _sizes(shape: Sequence[int], count: int) -> tuple[int, ...]:
    sizes = (count, *shape)
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise InvalidArgument.of("shape, count", got=repr(sizes), expected="integers of 1 or more")
    return sizes


def _levels(numel: int) -> st.SearchStrategy[Tensor]:
    if numel <= _ONE_BY_ONE:
        one = st.integers(-_STEPS, _STEPS)
        return st.lists(one, min_size=numel, max_size=numel).map(torch.tensor)

    def drawn(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(-_STEPS, _STEPS + 1, (numel,), generator=generator)

    return st.integers(0, 2**16).map(drawn)
