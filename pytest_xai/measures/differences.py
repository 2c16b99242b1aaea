"""Differences between two maps of the same image.

All functions take two batches of maps (N, *shape), compare the two maps of each image, compute in
float64 and return one value per image, (N,). The value is NaN where it is not defined: if one of
the maps holds NaN or inf, or in the cases that the function names.
"""

import math

import torch
from torch import Tensor

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures.arguments import float64_pair, only_finite

__all__ = ["l1_distance", "relative_difference", "share_beyond"]


def relative_difference(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return the largest difference divided by the largest value of two maps.

    It is ``max|a-b| / max(max|a|, max|b|)``, and not computed per element: for a pixel of 1e-12,
    rounding alone would be a large relative difference.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64, from 0 to 2; NaN if all values of both maps are zero.

    Raises:
        InvalidArgument: a map is not as above.

    Example:
        >>> import torch
        >>> relative_difference(torch.tensor([[1.0, -3.0]]), torch.tensor([[1.0, -4.0]])).item()
        0.25
    """
    a, b = float64_pair(map_a, map_b)
    return only_finite((a - b).abs().flatten(1).amax(1) / _largest(a, b), a, b)


def share_beyond(map_a: Tensor, map_b: Tensor, *, rtol: float) -> Tensor:
    """Return the share of the elements in which two maps differ, in [0, 1].

    An element differs if ``|a-b| > rtol * max(max|a|, max|b|)``.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.
        rtol: tolerance for rounding errors, as a share of the largest value, 0 or more.

    Returns:
        (N,) float64.

    Raises:
        InvalidArgument: an argument is not as above.
    """
    if not 0 <= rtol < math.inf:
        raise InvalidArgument.of("rtol", got=repr(rtol), expected="a finite number of 0 or more")
    a, b = float64_pair(map_a, map_b)
    tolerance = rtol * _largest(a, b)[:, None]
    return only_finite(((a - b).abs().flatten(1) > tolerance).double().mean(1), a, b)


def _largest(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a.abs().flatten(1).amax(1), b.abs().flatten(1).amax(1))


def l1_distance(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return the share of their mass that two maps put in different places, in [0, 1].

    It is ``0.5 * sum|a/sum|a| - b/sum|b||``. For maps without negative values this is the total
    variation distance, which is 1 minus the histogram intersection (Swain, Ballard, 1991, Color
    indexing). A value of the other sign counts as mass in a different place. The scale of either
    map does not matter.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN if all values of a map are zero.

    Raises:
        InvalidArgument: a map is not as above.
    """
    a, b = float64_pair(map_a, map_b)
    apart = (_mass(a.flatten(1)) - _mass(b.flatten(1))).abs().sum(1) / 2
    # Rounding errors may leave the range, and sequential tests rely on it.
    return apart.clamp(max=1)


def _mass(rows: Tensor) -> Tensor:
    """Divide each row by its sum of absolute values; NaN if the sum is zero or not finite."""
    # In two steps, so that no sum overflows.
    rows = rows / rows.abs().amax(1, keepdim=True)
    return rows / rows.abs().sum(1, keepdim=True)
