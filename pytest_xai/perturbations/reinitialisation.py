"""Re-initialisation of the weights of a single layer."""

from contextlib import suppress

import torch
from torch import Tensor, nn

from pytest_xai.core.seeds import seeded

__all__ = ["randomise_layer"]


def randomise_layer(module: nn.Module, *, seed: int) -> list[str]:
    """Re-initialise the parameters and buffers that a module itself owns, in place.

    Parameters use the module's own initialisation (``reset_parameters``) if it has one. Some
    modules have none, and some initialisations do not change a parameter (tensors from which a
    weight is computed) or set it to a constant (normalisations, slopes of a ReLU). Such parameters
    are drawn from a normal distribution with the mean and standard deviation of the tensor. Buffers
    (running statistics) are resampled from their own values, so that variances stay positive;
    buffers with equal values do not change. Integers and the global generators do not change.

    Args:
        module: the layer; its children are not changed.
        seed: seed of the new values.

    Returns:
        Names, within the module, of the tensors that could not be re-initialised: buffers of equal
        values, parameters of integers or complex numbers. Integer buffers (counters and indices)
        are not listed, because they are not learned.
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
                parameter.copy_(_normal_like(old))
        for name, buffer in buffers.items():
            buffer.copy_(_resampled(before[name]))
        learned = {**parameters, **{k: v for k, v in buffers.items() if v.is_floating_point()}}
        return [
            name
            for name, value in learned.items()
            if value.numel() and torch.equal(value, before[name])
        ]


def _reset(module: nn.Module) -> None:
    """Call the module's own initialisation, if it does not affect other modules."""
    scheme = getattr(module, "reset_parameters", None)
    # The initialisation of a module with children may reset the children as well.
    if callable(scheme) and not any(True for _ in module.children()):
        # If it needs arguments or fails, the parameters are drawn from a normal distribution.
        with suppress(Exception):
            scheme()


def _resampled(buffer: Tensor) -> Tensor:
    if not buffer.is_floating_point() or buffer.numel() < 2:
        return buffer
    picks = torch.randint(buffer.numel(), (buffer.numel(),))
    return buffer.flatten()[picks.to(buffer.device)].reshape(buffer.shape)


def _normal_like(parameter: Tensor) -> Tensor:
    mean = parameter.mean()
    # A single value or a constant tensor has no spread. Half the mean, or 0.1 for a zero mean,
    # keeps the order of magnitude of the parameter.
    spread = parameter.std() if parameter.numel() > 1 else torch.zeros_like(mean)
    if spread == 0:
        spread = mean.abs() / 2 if mean != 0 else torch.full_like(mean, 0.1)
    noise = torch.randn(parameter.shape, dtype=parameter.dtype).to(parameter.device)
    return mean + spread * noise
