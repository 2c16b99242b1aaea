"""The same random draws for every image of a batch, so that no map depends on its neighbours."""

from collections.abc import Callable

import torch
from torch import Tensor

from pytest_xai.core.seeds import RandomState

__all__ = ["one_by_one"]


def one_by_one(count: int, explain: Callable[[slice], Tensor]) -> Tensor:
    """Explain image after image, each with the global generators as the first one found them.

    Only the last image leaves the global generators advanced; the others hand them back. A batch
    therefore draws as much as one image alone.

    Args:
        count: number of images, N.
        explain: makes the maps (1, ...) of the images in a slice of length one.

    Returns:
        Detached maps (N, ...).
    """
    before = RandomState.now()
    maps = []
    for index in range(count):
        if index:
            before.restore()
        maps.append(explain(slice(index, index + 1)).detach())
    return torch.cat(maps)
