"""Weights drawn anew, one layer at a time."""

import torch
from torch import Tensor, nn

from pytest_xai.seeds import seeded

__all__ = ["randomise_layer"]


def randomise_layer(module: nn.Module, *, seed: int) -> None:
    """Draw the parameters and buffers that a module itself owns anew, in place.

    By the module's own scheme (``reset_parameters``) where it has one. What such a scheme leaves
    alone (the tensors that a weight is computed from) or sets to a constant (normalisations, slopes
    of a ReLU) was not drawn, and other modules have no scheme: those parameters are drawn from a
    normal distribution with the tensor's own mean and standard deviation. Buffers (running
    statistics) are resampled from their own values, which keeps a variance positive; where
    these are all the same, they stay. Integers stay, and so do the global generators.

    Args:
        module: the layer; its children are not touched.
        seed: of this layer and draw.
    """
    with seeded(seed), torch.no_grad():
        parameters = [p for p in module.parameters(recurse=False) if p.is_floating_point()]
        buffers = list(module.buffers(recurse=False))
        before = {tensor: tensor.clone() for tensor in (*parameters, *buffers)}
        reset = getattr(module, "reset_parameters", None)
        # The scheme of a module with children may reset these as well.
        if callable(reset) and not any(True for _ in module.children()):
            reset()
        for parameter in parameters:
            old = before[parameter]
            if torch.equal(parameter, old) or (parameter == parameter.flatten()[:1]).all():
                parameter.copy_(_redrawn(old))
        for buffer in buffers:
            buffer.copy_(_resampled(before[buffer]))


def _resampled(buffer: Tensor) -> Tensor:
    if not buffer.is_floating_point() or buffer.numel() < 2:
        return buffer
    picks = torch.randint(buffer.numel(), (buffer.numel(),))
    return buffer.flatten()[picks.to(buffer.device)].reshape(buffer.shape)


def _redrawn(parameter: Tensor) -> Tensor:
    mean = parameter.mean()
    # A single value and a constant tensor have no spread of their own; half the mean, or a
    # tenth where that is zero too, keeps the draw in the parameter's own order of magnitude.
    spread = parameter.std() if parameter.numel() > 1 else torch.zeros_like(mean)
    if spread == 0:
        spread = mean.abs() / 2 if mean != 0 else torch.full_like(mean, 0.1)
    noise = torch.randn(parameter.shape, dtype=parameter.dtype).to(parameter.device)
    return mean + spread * noise
