"""Division of inputs into the blocks of a grid, for methods that show and hide features."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["blocks_of"]

# Blocks per side, by the number of spatial dimensions. There are 16 to 27 blocks in all, so that
# coalitions of them can be sampled densely.
_PER_SIDE = {1: 16, 2: 4, 3: 3}


def blocks_of(
    inputs: Tensor, per_side: int | None, *, defaults: Mapping[int, int] = _PER_SIDE
) -> Tensor:
    """Return the number of the block that each position belongs to.

    Where the number of blocks does not divide a side, the lengths of the blocks differ by one.

    Args:
        inputs: (N, F), where each feature is a block, or (N, C, *spatial), where all channels at
            one position belong to the same block.
        per_side: blocks per spatial side, at most one per position; None takes ``defaults``.
        defaults: blocks per side by the number of spatial dimensions: 16 for signals, 4 for
            images, 3 for volumes.

    Returns:
        LongTensor (F,) or (*spatial) of consecutive numbers from 0, on the device of the inputs.
    """
    if inputs.ndim == 2:
        return torch.arange(inputs.shape[1], device=inputs.device)
    spatial = inputs.shape[2:]
    blocks = defaults.get(len(spatial), 2) if per_side is None else per_side
    numbers = torch.zeros((), dtype=torch.long, device=inputs.device)
    for side in spatial:
        count = min(blocks, side)
        along = torch.arange(side, device=inputs.device) * count // side
        numbers = numbers.unsqueeze(-1) * count + along
    return numbers
