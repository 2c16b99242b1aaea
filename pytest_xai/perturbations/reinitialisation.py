"""Weights drawn anew, one layer at a time."""

from contextlib import suppress

import torch
from torch import Tensor, nn

from pytest_xai.core.seeds import seeded

__all__ = ["randomise_layer"]


def randomise_layer(module: nn.Module, *, seed: int) -> list[str]:
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

    Returns:
        Names, within the module, of what could not be drawn: buffers of a single value, parameters
        that are integers or complex numbers. Integer buffers are counters and indices, not learned.
    """
    with seeded(seed), torch.no_grad():
        parameters = dict(module.named_parameters(recurse=False))
        buffers = dict(module.named_buffers(recurse=False))
        before = {name: value.clone() for name, value in {**parameters, **buffers}.items()}
        _reset(module)
        for name, parameter in parameters.items():
            old = before[name]
            if not old.is_floating_point():
                parameter.copy_(old)
            elif torch.equal(parameter, old) or (parameter == parameter.flatten()[:1]).all():
                parameter.copy_(_redrawn(old))
        for name, buffer in buffers.items():
            buffer.copy_(_resampled(before[name]))
        learned = {**parameters, **{k: v for k, v in buffers.items() if v.is_floating_point()}}
        return [
            name
            for name, value in learned.items()
            if value.numel() and torch.equal(value, before[name])
        ]


def _reset(module: nn.Module) -> None:
    """Call the module's own scheme, if it has one that is for it alone."""
    scheme = getattr(module, "reset_parameters", None)
    # The scheme of a module with children may reset these as well.
    if callable(scheme) and not any(True for _ in module.children()):
        # One that wants arguments, or fails, is none: what it left is drawn without it.
        with suppress(Exception):
            scheme()


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
