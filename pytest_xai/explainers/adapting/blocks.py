"""Features that are blocks of a grid, for methods that switch features on and off."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["blocks_of"]

# Blocks per side: sixteen or so in all, of which coalitions can be sampled densely.
_PER_SIDE = {1: 16, 2: 4, 3: 3}


def blocks_of(
    inputs: Tensor, per_side: int | None, *, defaults: Mapping[int, int] = _PER_SIDE
) -> Tensor:
    """Number the block that each place belongs to.

    Sides that the number of blocks does not divide have blocks that differ by one place.

    Args:
        inputs: (N, F), each of whose features is a block, or (N, C, *spatial), all of whose
            channels at one place belong to one block.
        per_side: blocks per spatial side, at most one per place; None: as ``defaults`` say.
        defaults: blocks per side by the number of spatial dimensions: 16 for signals, 4 for
            images, 3 for volumes.

    Returns:
        LongTensor (F,) or (*spatial) of numbers from 0 on, none left out, on the device of inputs.
    """
    if inputs.ndim == 2:
        return torch.arange(inputs.shape[1], device=inputs.device)
    spatial = inputs.shape[2:]
    wanted = defaults.get(len(spatial), 2) if per_side is None else per_side
    numbers = torch.zeros((), dtype=torch.long, device=inputs.device)
    for side in spatial:
        count = min(wanted, side)
        along = torch.arange(side, device=inputs.device) * count // side
        numbers = numbers.unsqueeze(-1) * count + along
    return numbers
