"""A model as a function of arrays, for libraries that ask for nothing but its outputs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["scores"]


def scores(
    model: nn.Module, points: Tensor, target: Tensor, *, at_once: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The output that is explained, at many points.

    Args:
        model: maps (N, *shape) to (N, classes).
        points: (N, *shape).
        target: LongTensor of one element, the class.
        at_once: how many points go through the model together.

    Returns:
        Array (N,) of float64.
    """
    with torch.no_grad():
        parts = [model(part)[:, int(target)] for part in points.split(at_once)]
    found: np.ndarray[Any, np.dtype[np.float64]] = torch.cat(parts).double().cpu().numpy()
    return found
