"""Overlap of the largest values of two maps of the same image.

All functions take two batches (N, *shape), compare the two maps or masks of each image and return
one float64 value per image, (N,). The value is NaN where it is not defined: if one of the maps
holds NaN or inf, or in the cases that the function names.
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
    """Return the Dice coefficient of the largest values of two maps, in [0, 1].

    It is ``2 |A and B| / (|A| + |B|)`` of the masks A and B of ``topk_mask`` (Dice, L. R., 1945,
    Measures of the amount of ecologic association between species). For two independent maps it
    is about ``fraction``.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.
        fraction: share of the elements that count as the largest, above 0 and at most 1.

    Returns:
        (N,) float64; NaN if a map is constant, because it has no largest values.

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
    """Return the intersection over union of the largest values of two maps, in [0, 1].

    It is ``|A and B| / |A or B|`` of the masks A and B of ``topk_mask`` (Jaccard, P., 1912, The
    distribution of the flora in the alpine zone), and ``dice = 2 iou / (1 + iou)``.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.
        fraction: share of the elements that count as the largest, above 0 and at most 1.

    Returns:
        (N,) float64; NaN if a map is constant, because it has no largest values.

    Raises:
        InvalidArgument: an argument is not as above.
    """
    masks = _top(map_a, map_b, fraction)
    return _where_ranked(iou_of_masks(*masks), masks)


def topk_intersection(map_a: Tensor, map_b: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Return the share of largest values that two maps have in common, in [0, 1].

    It is ``|A and B| / max(|A|, |B|)`` of the masks A and B of ``topk_mask``. If no values are
    equal, both masks hold k elements, and this is the number of common elements divided by k
    (Ghorbani, Abid, Zou, 2019, Interpretation of neural networks is fragile), and equal to Dice. If
    equal values make one mask larger, the share refers to the larger mask.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.
        fraction: share of the elements that count as the largest, above 0 and at most 1.

    Returns:
        (N,) float64; NaN if a map is constant, because it has no largest values.

    Raises:
        InvalidArgument: an argument is not as above.
    """
    masks = _top(map_a, map_b, fraction)
    a, b = (mask.flatten(1) for mask in masks)
    larger = torch.maximum(a.sum(1), b.sum(1))
    return _where_ranked((a & b).sum(1).double() / larger.double(), masks)


def dice_of_masks(mask_a: Tensor, mask_b: Tensor) -> Tensor:
    """Return the Dice coefficient of given masks, ``2 |A and B| / (|A| + |B|)``, in [0, 1].

    Args:
        mask_a: boolean (N, *shape).
        mask_b: boolean, the shape of mask_a.

    Returns:
        (N,) float64; 1 if both masks are empty, 0 if only one is.

    Raises:
        InvalidArgument: a mask is not as above.
    """
    both, total = _counts(mask_a, mask_b)
    return _share(2 * both, total)


def iou_of_masks(mask_a: Tensor, mask_b: Tensor) -> Tensor:
    """Return the intersection over union of given masks, ``|A and B| / |A or B|``, in [0, 1].

    Args:
        mask_a: boolean (N, *shape).
        mask_b: boolean, the shape of mask_a.

    Returns:
        (N,) float64; 1 if both masks are empty, 0 if only one is.

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
    """Return ``|A and B|`` and ``|A| + |B|`` of each image."""
    require_masks(mask_a, "mask_a")
    require_masks(mask_b, "mask_b")
    require_same(mask_b, "mask_b", mask_a, "mask_a")
    device = float64_device(mask_a.device)
    a, b = mask_a.flatten(1).to(device), mask_b.flatten(1).to(device)
    return (a & b).sum(1), a.sum(1) + b.sum(1)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return (part.double() / whole.double()).masked_fill(whole == 0, 1.0)
