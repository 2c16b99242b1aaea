"""Reference maps: the map of another image shows how similar unrelated maps are.

Maps of different images are correlated if they share structure (borders, centred objects, smooth
upsampling). So a similarity is never compared with zero, but with that of another image's map.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pytest_xai.errors import NotApplicable

__all__ = ["halfway", "other_images", "unrelated"]


def other_images(targets: Tensor) -> Tensor:
    """Return for each image the nearest following image of another target, LongTensor (n,).

    If all targets are the same, it is the next image. The first image follows the last one.

    Raises:
        NotApplicable: there is only one image.
    """
    count = len(targets)
    if count < 2:
        raise NotApplicable("needs two images or more: the reference is the map of another image")
    found = torch.arange(count, device=targets.device)
    open_ = torch.ones(count, dtype=torch.bool, device=targets.device)
    for step in range(1, count):
        candidate = torch.arange(count, device=targets.device).roll(-step)
        fits = open_ & (targets[candidate] != targets)
        found[fits] = candidate[fits]
        open_ &= ~fits
    following = torch.arange(count, device=targets.device).roll(-1)
    return torch.where(open_, following, found)


def unrelated(maps: Tensor, targets: Tensor, measure: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the measure of each image's map and the map of another image, (n,)."""
    return measure(maps, maps[other_images(targets)])


def halfway(near: Tensor | float, far: Tensor) -> Tensor:
    """Return the middle between the value of equal maps and that of unrelated maps, (n,).

    On one side of it a map is closer to the first reference, on the other side to the second. It
    is the only limit between two references that favours neither.
    """
    return (near + far) / 2
