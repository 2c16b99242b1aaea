"""The same random numbers for every image of a batch, so that maps do not depend on the batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from pytest_xai.core.seeds import RandomState

__all__ = ["one_by_one"]


def one_by_one(count: int, explain: Callable[[slice], Tensor]) -> Tensor:
    """Explain images one after the other, each with the same state of the global generators.

    The state is restored before every image but the first. A batch therefore uses as many random
    numbers as one image alone.

    Args:
        count: number of images, N.
        explain: computes the map (1, ...) of the image in a slice of length one.

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
