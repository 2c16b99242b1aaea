"""The outputs of a model as numpy arrays, for libraries that treat the model as a black box."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["scores"]


def scores(
    model: nn.Module, points: Tensor, target: Tensor, *, at_once: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Compute the output that is explained, at many points.

    Args:
        model: maps (N, *shape) to (N, classes).
        points: inputs (N, *shape).
        target: the class, a LongTensor of one element.
        at_once: number of points per forward pass.

    Returns:
        Array (N,) of float64.
    """
    with torch.no_grad():
        parts = [model(part)[:, int(target)] for part in points.split(at_once)]
    found: np.ndarray[Any, np.dtype[np.float64]] = torch.cat(parts).double().cpu().numpy()
    return found
