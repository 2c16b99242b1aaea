"""How much of their top two maps of the same image share.

All take two batches (N, *shape), compare what belongs to the same image and return one float64
value per image, (N,). NaN says that the value is not defined for that image: one of its maps holds
NaN or inf, or is of the kind that the function names.
"""

import torch
from torch import Tensor

from pytest_xai.measures.arguments import (
    float64_device,
    float64_pair,
    require_masks,
    require_same,
)
from pytest_xai.measures.masks import topk_mask

__all__ = ["dice", "dice_of_masks", "iou", "iou_of_masks", "topk_intersection"]


def dice(map_a: Tensor, map_b: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Dice coefficient of the largest values of two maps, in [0, 1].

    ``2 |A and B| / (|A| + |B|)`` of the masks A and B of ``topk_mask`` (Dice, L. R., 1945, Measures
    of the amount of ecologic association between species). Two independent maps have about
    ``fraction``.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.
        fraction: share of the elements that count as the largest, above 0 and at most 1.

    Returns:
        (N,) float64; NaN where a map is constant, as nothing is largest in it.

    Raises:
        InvalidArgument: an argument is not as above.

    Example:
        >>> import torch
        >>> dice(torch.tensor([[9.0, 8.0, 0.0, 1.0]]), torch.tensor([[5.0, 0.0, 1.0, 7.0]]),
        ...      fraction=0.5).item()
        0.5
    """
    masks = _top(map_a, map_b, fraction)
    return _where_ranked(dice_of_masks(*masks), masks)


def iou(map_a: Tensor, map_b: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Intersection over union of the largest values of two maps, in [0, 1].

    ``|A and B| / |A or B|`` of the masks A and B of ``topk_mask`` (Jaccard, P., 1912, The
    distribution of the flora in the alpine zone). ``dice = 2 iou / (1 + iou)``.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.
        fraction: share of the elements that count as the largest, above 0 and at most 1.

    Returns:
        (N,) float64; NaN where a map is constant, as nothing is largest in it.

    Raises:
        InvalidArgument: an argument is not as above.
    """
    masks = _top(map_a, map_b, fraction)
    return _where_ranked(iou_of_masks(*masks), masks)


def topk_intersection(map_a: Tensor, map_b: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Share of the largest values of one map that are among the largest of the other, in [0, 1].

    ``|A and B| / max(|A|, |B|)`` of the masks A and B of ``topk_mask``: where no values are equal
    both hold k elements, and this is the k-th part of what they share (Ghorbani, Abid, Zou, 2019,
    Interpretation of neural networks is fragile) and Dice. Where one mask is larger because of
    equal values, all of it has to be met.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.
        fraction: share of the elements that count as the largest, above 0 and at most 1.

    Returns:
        (N,) float64; NaN where a map is constant, as nothing is largest in it.

    Raises:
        InvalidArgument: an argument is not as above.
    """
    masks = _top(map_a, map_b, fraction)
    a, b = (mask.flatten(1) for mask in masks)
    larger = torch.maximum(a.sum(1), b.sum(1))
    return _where_ranked((a & b).sum(1).double() / larger.double(), masks)


def dice_of_masks(mask_a: Tensor, mask_b: Tensor) -> Tensor:
    """Dice coefficient of given masks, ``2 |A and B| / (|A| + |B|)``, in [0, 1].

    Args:
        mask_a: boolean (N, *shape).
        mask_b: boolean, the shape of mask_a.

    Returns:
        (N,) float64; 1 where both masks are empty, 0 where one is.

    Raises:
        InvalidArgument: a mask is not as above.
    """
    both, total = _counts(mask_a, mask_b)
    return _share(2 * both, total)


def iou_of_masks(mask_a: Tensor, mask_b: Tensor) -> Tensor:
    """Intersection over union of given masks, ``|A and B| / |A or B|``, in [0, 1].

    Args:
        mask_a: boolean (N, *shape).
        mask_b: boolean, the shape of mask_a.

    Returns:
        (N,) float64; 1 where both masks are empty, 0 where one is.

    Raises:
        InvalidArgument: a mask is not as above.
    """
    both, total = _counts(mask_a, mask_b)
    return _share(both, total - both)


def _top(map_a: Tensor, map_b: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    a, b = float64_pair(map_a, map_b)
    return topk_mask(a, fraction), topk_mask(b, fraction)


def _where_ranked(values: Tensor, masks: tuple[Tensor, Tensor]) -> Tensor:
    for mask in masks:
        values = values.masked_fill(~mask.flatten(1).any(1), torch.nan)
    return values


def _counts(mask_a: Tensor, mask_b: Tensor) -> tuple[Tensor, Tensor]:
    """``|A and B|`` and ``|A| + |B|`` of each image."""
    require_masks(mask_a, "mask_a")
    require_masks(mask_b, "mask_b")
    require_same(mask_b, "mask_b", mask_a, "mask_a")
    device = float64_device(mask_a.device)
    a, b = mask_a.flatten(1).to(device), mask_b.flatten(1).to(device)
    return (a & b).sum(1), a.sum(1) + b.sum(1)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return (part.double() / whole.double()).masked_fill(whole == 0, 1.0)
