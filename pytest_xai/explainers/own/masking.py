"""Random masks from coarse grids, masking of inputs, resizing of maps, and probabilities."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["covered", "probabilities", "random_shifts", "resized", "stretched"]

_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


def covered(image: Tensor, reference: Tensor, masks: Tensor) -> Tensor:
    """Mask an image: show it where a mask is 1, the reference where it is 0, else a mixture.

    Args:
        image: (1, *shape).
        reference: (1, *shape), of the same dtype.
        masks: (n, *shape), or broadcastable to it, of the same dtype.

    Returns:
        A new tensor (n, *shape), equal to image or reference exactly where a mask is 1 or 0.
    """
    return torch.lerp(reference, image, masks)


def probabilities(outputs: Tensor) -> Tensor:
    """Return the softmax of logits (n, classes), or the sigmoid of a single output (n, 1)."""
    return outputs.sigmoid() if outputs.shape[1] == 1 else outputs.softmax(1)


def resized(maps: Tensor, spatial: Sequence[int]) -> Tensor:
    """Interpolate maps (n, k, *positions) linearly between pixel centres to (n, k, *spatial)."""
    mode = _INTERPOLATION[len(spatial)]
    return functional.interpolate(maps, tuple(spatial), mode=mode, align_corners=False)


def random_shifts(count: int, cells: Sequence[int], spatial: Sequence[int]) -> Tensor:
    """Draw the offset of each mask in its enlarged grid, from torch's global generator.

    Args:
        count: number of masks, n.
        cells: cells of the grid per dimension.
        spatial: positions of the mask per dimension.

    Returns:
        Integers (n, dimensions) on the CPU, from 0 to the side of a cell (in positions) minus 1.
    """
    sides = [math.ceil(side / cell) for side, cell in zip(spatial, cells, strict=True)]
    return torch.stack([torch.randint(side, (count,)) for side in sides], 1)


def stretched(grids: Tensor, spatial: Sequence[int], shifts: Tensor) -> Tensor:
    """Enlarge grids by linear interpolation, and cut out masks (Petsiuk 2018, sec. 3.2).

    If a side has P positions and c cells, a cell has C = ceil(P / c) positions. The grid is
    enlarged to (c + 1) C positions, and P of these are cut out, beginning at the shift. Where there
    are as many cells as positions, each position is its own cell, and the grid is not enlarged.

    Args:
        grids: (n, k, *cells), with at most as many cells as positions per dimension.
        spatial: positions per dimension.
        shifts: the result of `random_shifts` for the n grids.

    Returns:
        Masks (n, k, *spatial) of the grids' dtype.
    """
    values = grids
    # The first dimension comes last, so that the result is contiguous in memory.
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
    """Return the share of each cell in each position, (n, positions, cells)."""
    side = math.ceil(places / cells)
    centres = torch.arange(places, dtype=torch.float64) + shifts.unsqueeze(1) + 0.5
    positions = (centres * cells / ((cells + 1) * side) - 0.5).clamp(0, cells - 1)
    distances = positions.unsqueeze(2) - torch.arange(cells)
    return (1 - distances.abs()).clamp(min=0)
