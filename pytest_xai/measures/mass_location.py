"""Distances between the mass of two maps of the same image.

The mass of a pixel is the absolute value of the sum of its channels (`spatial`), as a share of the
mass of all pixels. Distances are shares of the longest distance between two pixels, so that they do
not depend on the size of the maps.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures.arguments import as_float64, float64_pair, require_batch
from pytest_xai.measures.masks import spatial

__all__ = ["centre_of_mass", "centre_of_mass_shift", "earth_mover"]


def centre_of_mass(maps: Tensor) -> Tensor:
    """Return the mean position of the mass of each map, in pixels from the first pixel.

    Args:
        maps: floating (N, C, *spatial), one or more spatial axes.

    Returns:
        (N, axes) float64, in the order of the axes; NaN for a map whose channels sum to zero
        everywhere, and for a map with NaN or inf.

    Raises:
        InvalidArgument: ``maps`` is not as above. Tables (N, F) have no positions.

    Example:
        >>> centre_of_mass(torch.tensor([[[[0.0, 1.0], [0.0, -3.0]]]])).tolist()
        [[0.75, 1.0]]
    """
    require_batch(maps, "maps")
    return _centre(_mass(as_float64(maps), "maps"))


def centre_of_mass_shift(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return the distance of the centres of mass as a share of the diagonal, in [0, 1].

    It is the measure of Ghorbani, Abid, Zou, 2019 (Interpretation of neural networks is fragile),
    whose maps are absolute values, divided by the distance of opposite corner pixels' centres.

    Args:
        map_a: floating (N, C, *spatial), one or more spatial axes.
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN where a map's channels sum to zero everywhere, and for maps of one pixel.

    Raises:
        InvalidArgument: a map is not as above. Tables (N, F) have no positions.
    """
    a, b = (_mass(each, "map_a") for each in float64_pair(map_a, map_b))
    diagonal = math.hypot(*(side - 1 for side in a.shape[1:]))
    apart: Tensor = torch.linalg.vector_norm(_centre(a) - _centre(b), dim=1)
    return (apart / (diagonal or math.nan)).clamp(max=1)


def earth_mover(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return the earth mover's distance between the mass of two maps, in [0, 1].

    It is the smallest mean distance over which mass has to be moved to turn one map into the other
    (Rubner, Tomasi, Guibas, 2000, The earth mover's distance as a metric for image retrieval). The
    distance is |dy| + |dx|, as a share of that between opposite corners. The value is exact: the
    cheapest flow between neighbouring pixels, by linear programming (Ling, Okada, 2007, An
    efficient earth mover's distance algorithm). A map of 28 x 28 takes a tenth of a second, a map
    of 112 x 112 takes some seconds.

    Args:
        map_a: floating (N, C, *spatial), one or more spatial axes.
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN where a map's channels sum to zero everywhere, and for maps of one pixel.

    Raises:
        InvalidArgument: a map is not as above. Tables (N, F) have no positions.
    """
    a, b = (_mass(each, "map_a").detach() for each in float64_pair(map_a, map_b))
    longest = sum(side - 1 for side in a.shape[1:])
    found = [
        _work(surplus) / longest if longest and np.isfinite(surplus).all() else math.nan
        for surplus in (a - b).cpu().numpy()
    ]
    return a.new_tensor(found).clamp(0, 1)


def _mass(maps: Tensor, argument: str) -> Tensor:
    """Return shares of the mass, (N, *spatial); NaN for a map without mass or not finite."""
    if maps.ndim < 3:
        raise InvalidArgument.of(
            argument, got=f"shape {tuple(maps.shape)}", expected="(N, C, *spatial)"
        )
    size = spatial(maps).abs()
    axes = tuple(range(1, size.ndim))
    # In two steps, so that no sum overflows.
    size = size / size.amax(axes, keepdim=True)
    shares: Tensor = size / size.sum(axes, keepdim=True)
    return shares


def _centre(mass: Tensor) -> Tensor:
    """Return the mean position along each axis, (N, axes)."""
    centres = []
    for axis in range(1, mass.ndim):
        others = tuple(each for each in range(1, mass.ndim) if each != axis)
        along = mass.sum(others) if others else mass
        centres.append((along * torch.arange(mass.shape[axis]).to(mass)).sum(1))
    return torch.stack(centres, 1)


def _work(surplus: np.ndarray) -> float:
    """Return the cost of the cheapest flow that levels the surplus, which sums to zero."""
    from scipy import sparse  # not at the top, because listing checks does not need it
    from scipy.optimize import linprog

    places = np.arange(surplus.size).reshape(surplus.shape)
    pairs = [
        (places.take(range(side - 1), axis).ravel(), places.take(range(1, side), axis).ravel())
        for axis, side in enumerate(surplus.shape)
    ]
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    start, stop = np.concatenate([first, second]), np.concatenate([second, first])
    flows = np.arange(len(start))
    leaving = sparse.coo_array((np.ones(len(flows)), (start, flows)), (places.size, len(flows)))
    coming = sparse.coo_array((np.ones(len(flows)), (stop, flows)), (places.size, len(flows)))
    # Scaled by the number of pixels, because the tolerance of the solver is absolute.
    level = (surplus * surplus.size).ravel()
    balance: Any = (leaving - coming).tocsr()
    found = linprog(np.ones(len(flows)), A_eq=balance, b_eq=level)
    work = found.fun
    return math.nan if work is None else float(work) / surplus.size
