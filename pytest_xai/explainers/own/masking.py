"""Masks on inputs: stretched from coarse grids, laid over a baseline, read as probabilities."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["covered", "probabilities", "random_shifts", "resized", "stretched"]

_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


def covered(image: Tensor, reference: Tensor, masks: Tensor) -> Tensor:
    """The image where a mask is 1, the reference where it is 0, and their mixture between.

    Args:
        image: (1, *shape).
        reference: (1, *shape), of the same dtype.
        masks: (n, *shape), or with 1 for sides along which the mask is the same; of the same dtype.

    Returns:
        A new tensor (n, *shape); it holds the two exactly where a mask is 0 or 1.
    """
    return torch.lerp(reference, image, masks)


def probabilities(outputs: Tensor) -> Tensor:
    """What the logits (n, classes) say: the softmax, or the sigmoid of a single output (n, 1)."""
    return outputs.sigmoid() if outputs.shape[1] == 1 else outputs.softmax(1)


def resized(maps: Tensor, spatial: Sequence[int]) -> Tensor:
    """Maps (n, k, *places), interpolated linearly between pixel centres to (n, k, *spatial)."""
    mode = _INTERPOLATION[len(spatial)]
    return functional.interpolate(maps, tuple(spatial), mode=mode, align_corners=False)


def random_shifts(count: int, cells: Sequence[int], spatial: Sequence[int]) -> Tensor:
    """Where each mask is cut out of its stretched grid, from torch's global generator.

    Args:
        count: number of masks, n.
        cells: cells of the grid per dimension.
        spatial: places of the mask per dimension.

    Returns:
        Integers (n, dimensions) on the CPU, from 0 to less than the side of a cell in places.
    """
    sides = [math.ceil(side / cell) for side, cell in zip(spatial, cells, strict=True)]
    return torch.stack([torch.randint(side, (count,)) for side in sides], 1)


def stretched(grids: Tensor, spatial: Sequence[int], shifts: Tensor) -> Tensor:
    """Masks cut out of grids that are interpolated linearly to a cell more than they show.

    A side of P places and c cells has cells of C = ceil(P / c) places; the grid is stretched to
    (c + 1) C places, of which P are cut out from the shift on (Petsiuk 2018, sec. 3.2). Where there
    are as many cells as places, each place is its own cell, and nothing is stretched.

    Args:
        grids: (n, k, *cells), each number of cells at most that of the places.
        spatial: places per dimension.
        shifts: what `random_shifts` returned for the n grids.

    Returns:
        Masks (n, k, *spatial) of the grids' dtype.
    """
    values = grids
    # The first dimension last: its product lies in memory as the result is read.
    for axis in reversed(range(len(spatial))):
        cells = grids.shape[axis + 2]
        if cells == spatial[axis]:
            continue
        weights = _weights(cells, spatial[axis], shifts[:, axis]).to(grids)
        lines = values.movedim(axis + 2, 1)
        product = weights @ lines.flatten(2)
        values = product.unflatten(2, lines.shape[2:]).movedim(1, axis + 2)
    return values


def _weights(cells: int, places: int, shifts: Tensor) -> Tensor:
    """The share of each cell in each place, (n, places, cells)."""
    side = math.ceil(places / cells)
    centres = torch.arange(places, dtype=torch.float64) + shifts.unsqueeze(1) + 0.5
    positions = (centres * cells / ((cells + 1) * side) - 0.5).clamp(0, cells - 1)
    distances = positions.unsqueeze(2) - torch.arange(cells)
    return (1 - distances.abs()).clamp(min=0)
