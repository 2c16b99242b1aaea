"""Propagation rules of DeepLIFT: the parts of a difference after one operation.

The difference between an activation at an input and at its reference is the sum of two parts, one
positive and one negative. A batch of 2 N rows holds the activations at N inputs, then those at
their references. Another batch of the same shape holds the N positive parts, then the N negative
parts. Every rule computes the parts of a result as a linear function of the parts of the argument,
with factors that depend on the activations. Backpropagation through it gives the multipliers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["activated", "linearly", "max_pooled", "scaled", "slope"]

# For differences smaller than this many roundings, the slope is replaced by the derivative.
_ROUNDINGS = 8
_MAX_POOLS: dict[str, Callable[..., Any]] = {
    f"{kind}max_pool{dimensions}d": getattr(functional, f"{kind}max_pool{dimensions}d")
    for kind in ("", "adaptive_")
    for dimensions in (1, 2, 3)
}


def linearly(
    layer: Callable[[Tensor, Tensor], Tensor], values: Tensor, parts: Tensor, weight: Tensor
) -> Tensor:
    """Return the parts after a layer with weights (Shrikumar 2017, sec. 3.5.1).

    The contribution w dx of the difference dx of an argument belongs to the positive part if it is
    positive. If dx is zero but its parts are not, each part gets half of the contribution.

    Args:
        layer: a function of (arguments, weights) that is linear in both, without bias.
        values: activations before the layer, (2 N, ...).
        parts: their parts, (2 N, ...).
        weight: the weights.
    """
    at, reference = values.chunk(2)
    sign = (at - reference).sign()
    whole = torch.stack(parts.chunk(2)).sum(0)
    rising, falling = whole * (1 + sign) / 2, whole * (1 - sign) / 2
    weight = weight.detach()
    return layer(torch.cat([rising, falling]), weight.clamp(min=0)) + layer(
        torch.cat([falling, rising]), weight.clamp(max=0)
    )


def scaled(parts: Tensor, factor: Tensor) -> Tensor:
    """Return the parts after an elementwise multiplication with constants.

    Unlike the rule for layers it keeps both parts of an activation, so that a layer followed by a
    normalisation has the same result as the layer with the normalisation folded in.

    Args:
        parts: (2 N, ...).
        factor: the constants, broadcastable to the parts.
    """
    factor = factor.detach()
    swapped = torch.cat([*reversed(parts.chunk(2))])
    return factor.clamp(min=0) * parts + factor.clamp(max=0) * swapped


def activated(
    function: Callable[[Tensor], Tensor], values: Tensor, parts: Tensor, *, cancelling: bool
) -> Tensor:
    """Return the parts after an elementwise function.

    Args:
        function: the function, such as a ReLU.
        values: activations before the function, (2 N, ...).
        parts: their parts, (2 N, ...).
        cancelling: True for RevealCancel, where each part gets the mean of its effects before and
            after the other part (Shrikumar 2017, sec. 3.5.3), the Shapley value for two players.
            False for Rescale, with one slope for both parts (sec. 3.5.2).
    """
    at, start = values.chunk(2)
    up, down = parts.detach().chunk(2)
    with torch.no_grad():
        if cancelling:
            both = start + up + down
            up_first, down_last = (
                slope(function, start, start + up),
                slope(function, start + up, both),
            )
            down_first, up_last = (
                slope(function, start, start + down),
                slope(function, start + down, both),
            )
            factors = [(up_first + up_last) / 2, (down_first + down_last) / 2]
        else:
            factors = [slope(function, start, at)] * 2
    return parts * torch.cat(factors)


def slope(function: Callable[[Tensor], Tensor], start: Tensor, end: Tensor) -> Tensor:
    """Return (g(end) - g(start)) / (end - start) elementwise, and g'(end) where end = start.

    Args:
        function: the elementwise function g.
        start: tensor of any shape.
        end: tensor of the same shape.
    """
    step = end - start
    rise = function(end) - function(start)
    scale = torch.maximum(start.abs(), end.abs())
    none = step.abs() <= _ROUNDINGS * torch.finfo(step.dtype).eps * scale
    if not none.any():
        return rise / step
    with torch.enable_grad():
        leaf = end.detach().clone().requires_grad_()
        (derivative,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return torch.where(none, derivative, rise / step.masked_fill(none, 1))


def max_pooled(
    name: str, values: Tensor, parts: Tensor, *args: Any, **options: Any
) -> tuple[Tensor, Tensor]:
    """Return the maximum over windows, and the parts after it.

    The difference of the maximum is assigned to one position of each window, namely the position of
    the larger of the two maxima, at the input and at the reference (the first such position). The
    difference at this position has the same sign and is at least as large, so its Rescale slope is
    between 0 and 1, and no contribution is lost. Windows may overlap. For max(x1, x2) at (5, 3)
    with reference (1, 4) the positions get (1, 0).

    Args:
        name: name of the function, such as ``"max_pool2d"`` or ``"adaptive_max_pool1d"``.
        values: activations before it, (2 N, C, *spatial).
        parts: their parts, (2 N, C, *spatial).
        *args: further arguments of the function, such as the window's size.
        **options: keyword arguments of the function.
    """
    pooled, places = _MAX_POOLS[name](values, *args, **{**options, "return_indices": True})
    at, start = pooled.chunk(2)
    at_input, at_reference = places.chunk(2)
    winners = at_input.where(at >= start, at_reference).flatten(2)
    ends = [half.flatten(2).gather(2, winners) for half in values.chunk(2)]
    step = (ends[0] - ends[1]).view_as(at)
    factor = torch.where(step == 0, 1, (at - start) / step.masked_fill(step == 0, 1))
    won = parts.flatten(2).gather(2, torch.cat([winners, winners]))
    return pooled, won.view_as(pooled) * torch.cat([factor, factor])
