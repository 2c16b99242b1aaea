"""Weights drawn anew, one layer at a time."""

import torch
from torch import Tensor, nn

from pytest_xai.seeds import seeded

__all__ = ["randomise_layer"]

_NORMALISATIONS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
)


def randomise_layer(module: nn.Module, *, seed: int) -> None:
    """Draw the parameters and buffers that a module itself owns anew, in place.

    By the module's own scheme (``reset_parameters``) where it has one. Normalisation layers reset
    to constants, which is not random, and other modules have no scheme: theirs are drawn from a
    normal distribution with the tensor's own mean and standard deviation. Buffers (running
    statistics) are resampled from their own values, which keeps a variance positive. The
    global generators are left as they were.

    Args:
        module: the layer; its children are not touched.
        seed: of this layer and draw.
    """
    with seeded(seed), torch.no_grad():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset) and not isinstance(module, _NORMALISATIONS):
            reset()
        else:
            for parameter in module.parameters(recurse=False):
                parameter.copy_(_redrawn(parameter))
        for buffer in module.buffers(recurse=False):
            if buffer.is_floating_point() and buffer.numel() > 1:
                picks = torch.randint(buffer.numel(), (buffer.numel(),))
                buffer.copy_(buffer.flatten()[picks.to(buffer.device)].reshape(buffer.shape))


def _redrawn(parameter: Tensor) -> Tensor:
    mean = parameter.mean()
    # A single value and a constant tensor have no spread of their own; half the mean, or a
    # tenth where that is zero too, keeps the draw in the parameter's own order of magnitude.
    spread = parameter.std() if parameter.numel() > 1 else torch.zeros_like(mean)
    if spread == 0:
        spread = mean.abs() / 2 if mean != 0 else torch.full_like(mean, 0.1)
    noise = torch.randn(parameter.shape, dtype=parameter.dtype).to(parameter.device)
    return mean + spread * noise
