"""Masks of the largest values of maps, and sums over the channels of maps."""

import math

from torch import Tensor

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures.arguments import as_float64, require_batch

__all__ = ["spatial", "topk_mask"]


def topk_mask(maps: Tensor, fraction: float = 0.1) -> Tensor:
    """Mark the k largest values of each map, where k = ceil(fraction * number of elements).

    Values are ranked with their sign, so that a large negative value is small. A mask holds

    - k elements if the k-th largest value is larger than the next one;
    - more if the two are equal: all elements of that value, because their order is not defined;
    - fewer if that value is the map's minimum, such as the zeros of a rectified map: only the
      elements above the minimum;
    - no elements for a constant map, and for a map with NaN or inf.

    Args:
        maps: floating (N, *shape).
        fraction: share of the elements, above 0 and at most 1.

    Returns:
        Boolean, the shape and the device of ``maps``.

    Raises:
        InvalidArgument: ``maps`` or ``fraction`` is not as above.

    Example:
        >>> import torch
        >>> topk_mask(torch.tensor([[3.0, -9.0, 2.0, 2.0], [0.0, 5.0, 0.0, 0.0]]), 0.5).int()
        tensor([[1, 0, 1, 1],
                [0, 1, 0, 0]], dtype=torch.int32)
    """
    require_batch(maps, "maps")
    if not 0 < fraction <= 1:
        raise InvalidArgument.of(
            "fraction", got=repr(fraction), expected="a number above 0 and at most 1"
        )
    rows = maps.detach().flatten(1)
    size = rows.shape[1]
    # 0.1 * 70 is 7.000000000000001 in floating point, and 7 values are a tenth of 70.
    k = math.ceil(fraction * size * (1 - 1e-12))
    floor, top = rows.aminmax(dim=1, keepdim=True)
    mask = rows >= rows.topk(k, dim=1).values[:, -1:]
    if k < size:
        mask &= rows > floor
    mask &= (top > floor) & rows.isfinite().all(1, keepdim=True)
    return mask.reshape(maps.shape)


def spatial(maps: Tensor) -> Tensor:
    """Sum the channels of each map, to one value per pixel in float64.

    It is a sum because attributions are shares of the output, and shares add up. A maximum or a
    norm would lose the sign and the total.

    Args:
        maps: floating (N, C, *spatial), or tables (N, F), which have no channels.

    Returns:
        (N, *spatial), or tables as they are (N, F); float64.

    Raises:
        InvalidArgument: ``maps`` is not as above.

    Example:
        >>> import torch
        >>> spatial(torch.tensor([[[1.0, 2.0], [3.0, -2.0]]])).tolist()
        [[4.0, 0.0]]
    """
    require_batch(maps, "maps")
    maps = as_float64(maps)
    return maps.sum(1) if maps.ndim > 2 else maps
