"""The multipliers of DeepLIFT: how the parts of a difference go through one operation.

The difference of an activation at an input from that at the reference is kept in two parts,
positive and negative, that add up to it. A batch of 2 N rows holds the activations at N inputs,
then those at their references; another one, of the same shape, the N positive parts, then the N
negative ones. Every rule gives an operation's parts as a linear function of those of its argument,
with factors found from the activations: back-propagation through it gives the multipliers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["activated", "linearly", "max_pooled", "scaled", "slope"]

# Steps below this many roundings of their ends have no slope of their own but the derivative's.
_ROUNDINGS = 8
_MAX_POOLS: dict[str, Callable[..., Any]] = {
    f"{kind}max_pool{dimensions}d": getattr(functional, f"{kind}max_pool{dimensions}d")
    for kind in ("", "adaptive_")
    for dimensions in (1, 2, 3)
}


def linearly(
    layer: Callable[[Tensor, Tensor], Tensor], values: Tensor, parts: Tensor, weight: Tensor
) -> Tensor:
    """The parts behind a layer with weights (Shrikumar 2017, sec. 3.5.1).

    What the difference dx of an argument adds, w dx, is in the positive part where it is positive;
    where dx is zero and its parts are not, either part gets half of what they add.

    Args:
        layer: linear in (arguments, weights); no bias.
        values: activations before it, (2 N, ...).
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
    """The parts of elementwise multiples: those of a layer with its weights times the factor.

    Unlike the rule for layers it keeps both parts of one activation, so that a normalisation
    behind a layer gives what the layer with the normalisation folded in gives.

    Args:
        parts: (2 N, ...).
        factor: broadcastable to it.
    """
    factor = factor.detach()
    swapped = torch.cat([*reversed(parts.chunk(2))])
    return factor.clamp(min=0) * parts + factor.clamp(max=0) * swapped


def activated(
    function: Callable[[Tensor], Tensor], values: Tensor, parts: Tensor, *, cancelling: bool
) -> Tensor:
    """The parts behind a function of each activation on its own.

    Args:
        function: such as a ReLU.
        values: activations before it, (2 N, ...).
        parts: their parts, (2 N, ...).
        cancelling: RevealCancel, which gives each part the mean of what it adds before and after
            the other (Shrikumar 2017, sec. 3.5.3): Shapley's value for two players. False:
            Rescale, one slope for both parts (sec. 3.5.2).
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
    """(g(end) - g(start)) / (end - start), elementwise; g'(end) where the two are one.

    Args:
        function: g, elementwise.
        start: any shape.
        end: the same shape.
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
    """A maximum over windows, and the parts behind it.

    The maximum's difference goes to one place of each window: where the larger of the two maxima
    is, that of the input or that of the reference (the first such place). There the difference has
    the same sign and is at least as large, so that the Rescale slope of the place is from 0 to 1
    and nothing is lost; windows may overlap. For max(x1, x2) at (5, 3) with reference (1, 4) the
    places get (1, 0).

    Args:
        name: of the function, ``"max_pool2d"`` or ``"adaptive_max_pool1d"`` for example.
        values: activations before it, (2 N, C, *spatial).
        parts: their parts, (2 N, C, *spatial).
        *args: the function's own, such as the window's size.
        **options: the function's own.
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
