"""Blurred and shifted inputs of any number of spatial dimensions."""

import torch
from torch import Tensor

__all__ = ["blurred", "shifted"]


def blurred(inputs: Tensor, sigma: float) -> Tensor:
    """Blur inputs with a Gaussian along every spatial dimension, with repeated edges.

    Args:
        inputs: (N, C, *spatial).
        sigma: standard deviation as a share of each side; 0 means no blur.

    Returns:
        A new tensor of the inputs' shape.
    """
    values = inputs
    for axis in range(2, inputs.ndim):
        side = inputs.shape[axis]
        weights = _blur(side, sigma * side).to(inputs)
        values = (values.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return values.clone() if values is inputs else values


def _blur(side: int, sigma: float) -> Tensor:
    """Return the weight (side, side) of each position in each blurred one, in float64."""
    if sigma == 0:
        return torch.eye(side, dtype=torch.float64)
    reach = int(4 * sigma) + 1
    offsets = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-((offsets.double() / sigma) ** 2) / 2)
    sources = (torch.arange(side)[:, None] + offsets).clamp(0, side - 1)
    weights = torch.zeros(side, side, dtype=torch.float64)
    return weights.scatter_add_(1, sources, (kernel / kernel.sum()).expand(side, -1))


def shifted(values: Tensor, step: int, jitter: int) -> Tensor:
    """Shift all inputs of a batch along each side by the same number of positions, edges repeated.

    The steps run through all shifts of 0 to ``jitter`` positions, one dimension after the other.

    Args:
        values: (N, C, *spatial).
        step: number of the step, from 0.
        jitter: largest shift, in positions.
    """
    for axis in range(2, values.ndim):
        step, places = divmod(step, jitter + 1)
        if places:
            sources = (torch.arange(values.shape[axis]) - places).clamp(min=0)
            values = values.index_select(axis, sources.to(values.device))
    return values
