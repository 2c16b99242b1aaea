"""What "unrelated" means: the maps of other images, against which similarities are held.

Maps of different images are far from uncorrelated where they share structure (borders, centred
objects, smooth upsampling), so no similarity is ever compared with zero.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pytest_xai.errors import NotApplicable

__all__ = ["halfway", "partners", "unrelated"]


def partners(targets: Tensor) -> Tensor:
    """For each image the nearest following one of another target, LongTensor (n,).

    The next image where all targets are the same; after the last image comes the first.

    Raises:
        NotApplicable: there is only one image.
    """
    count = len(targets)
    if count < 2:
        raise NotApplicable("needs two images or more: the null is the map of another image")
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
    """The measure of each image's map and another image's, (n,)."""
    return measure(maps, maps[partners(targets)])


def halfway(near: Tensor | float, far: Tensor) -> Tensor:
    """The middle between what a map has to be like and what it must not be like, (n,).

    On one side of it a map is more like the first, on the other more like the second: the only
    limit between two references that does not favour either.
    """
    return (near + far) / 2
