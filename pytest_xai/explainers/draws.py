"""The same random draws for every image of a batch, so that no map depends on its neighbours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

__all__ = ["one_by_one"]


def one_by_one(count: int, explain: Callable[[slice], Tensor]) -> Tensor:
    """Explain image after image, each with the global generators as the first one found them.

    Only the last image leaves torch's and numpy's global generators advanced; the others hand them
    back. A batch therefore draws as much as one image alone.

    Args:
        count: number of images, N.
        explain: makes the maps (1, ...) of the images in a slice of length one.

    Returns:
        Detached maps (N, ...).
    """
    maps = []
    for index in range(count):
        with _handed_back(enabled=index + 1 < count):
            maps.append(explain(slice(index, index + 1)).detach())
    return torch.cat(maps)


@contextmanager
def _handed_back(*, enabled: bool) -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002  # the one that libraries draw from
    with torch.random.fork_rng(enabled=enabled):
        try:
            yield
        finally:
            if enabled:
                np.random.set_state(state)  # noqa: NPY002
