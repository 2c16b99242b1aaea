"""Compares where a map is large with a mask of the object in the image."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures.arguments import (
    as_float64,
    only_finite,
    require_batch,
    require_masks,
    require_same,
)

__all__ = ["mass_inside", "pointing_game"]


def pointing_game(maps: Tensor, masks: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Return the share of a map's largest values in or near the mask (Zhang et al. 2018).

    If one pixel has the largest value, it is 1 for a hit and 0 for a miss. If several pixels have
    it, it is the share of hits among them: the expected value for a random choice among them.

    Args:
        maps: floating (N, *spatial).
        masks: boolean, the shape of ``maps``.
        tolerance: largest distance of a hit from the mask, in pixels, at least 0. The paper uses
            15 on images of about 500 pixels.

    Returns:
        (N,) float64; NaN for an empty mask, a constant map and one with NaN or inf.

    Raises:
        InvalidArgument: an argument is not as above.

    Example:
        >>> import torch
        >>> inside = torch.tensor([[True, False, False, True]])
        >>> pointing_game(torch.tensor([[5.0, 1.0, 1.0, 5.0]]), inside).tolist()
        [1.0]
    """
    if not tolerance >= 0:
        raise InvalidArgument.of("tolerance", got=repr(tolerance), expected="a number >= 0")
    rows, inside = _rows(maps, masks)
    largest = rows == rows.amax(1, keepdim=True)
    undefined = ~inside.any(1) | largest.all(1)
    near = _near(masks, tolerance).flatten(1).to(rows.device)
    share = (largest & near).sum(1).double() / largest.sum(1)
    return only_finite(share.masked_fill(undefined, torch.nan), rows)


def mass_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the positive relevance in the mask (Kohlbrenner et al. 2020).

    Args:
        maps: floating (N, *spatial); negative values count as zero.
        masks: boolean, the shape of ``maps``.

    Returns:
        (N,) float64, from 0 to 1; NaN for an empty mask, a map without positive values and one
        with NaN or inf.

    Raises:
        InvalidArgument: an argument is not as above.

    Example:
        >>> import torch
        >>> inside = torch.tensor([[True, False, False]])
        >>> mass_inside(torch.tensor([[3.0, 1.0, -7.0]]), inside).tolist()
        [0.75]
    """
    rows, inside = _rows(maps, masks)
    # Scaled by the largest value, because a sum of huge values would be infinite.
    positive = rows.clamp_min(0) / rows.amax(1, keepdim=True).clamp_min(
        torch.finfo(rows.dtype).tiny
    )
    share = (positive * inside).sum(1) / positive.sum(1)
    return only_finite(share.masked_fill(~inside.any(1), torch.nan), rows)


def _near(masks: Tensor, tolerance: float) -> Tensor:
    """Extend the masks by this Euclidean distance."""
    outside = (~masks).cpu().numpy()
    return torch.from_numpy(
        np.stack([distance_transform_edt(each) <= tolerance for each in outside])
    )


def _rows(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    require_batch(maps, "maps")
    require_masks(masks, "masks")
    require_same(masks, "masks", maps, "maps")
    return as_float64(maps).flatten(1), masks.flatten(1)
