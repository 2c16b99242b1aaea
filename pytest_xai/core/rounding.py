"""The relative size of rounding errors in a model."""

import math

import torch
from torch import nn

__all__ = ["rounding"]


def rounding(model: nn.Module, dtype: torch.dtype) -> float:
    """Return the relative size of rounding errors in sums over the model, 8 eps sqrt(L n).

    L is the number of weight tensors and n the largest fan-in. Rounding errors of independent sign
    grow like the square root of their number (Higham 2002, section 2.8); 8 is a safety factor.
    """
    weights = [p for p in model.parameters() if p.ndim >= 2]
    fan_in = max((weight[0].numel() for weight in weights), default=1)
    return 8 * torch.finfo(dtype).eps * math.sqrt(max(len(weights), 1) * fan_in)
