"""The constants that the layers of a model add, and their share of the output."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

__all__ = ["bias_absorption", "scale_constants", "zero_sums"]

# With running statistics, these layers are affine in evaluation mode.
_RUNNING = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def bias_absorption(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of the output that the biases absorb, sum of b_k df/dz_k, (N,).

    For LRP-0 on a ReLU network this is exactly f(x) minus the sum of the relevances (Bach et al.
    2015, equation 56 solved for the bias terms). It includes the `bias` of every module that is
    called as a module, and the whole offset of batch normalisation with running statistics.

    Args:
        model: the model, in evaluation mode.
        inputs: (N, *shape).
        targets: LongTensor (N,).
    """
    seen: list[tuple[Tensor, Tensor]] = []
    with _recorded(model, seen), torch.enable_grad():
        scores = model(inputs.detach().requires_grad_()).gather(1, targets[:, None]).sum()
        grads = torch.autograd.grad(scores, [z for z, _ in seen], allow_unused=True) if seen else []
    total = torch.zeros(len(inputs), dtype=inputs.dtype, device=inputs.device)
    for (_, offset), grad in zip(seen, grads, strict=True):
        if grad is not None:
            total += (grad * offset).flatten(1).sum(1)
    return total


def zero_sums(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return where the output depends on a value of a linear layer that is exactly zero, bool (N,).

    There the relevance is a matter of convention: the shares of a sum of zero are 0/0. LRP-0 sets
    them to zero, while input times gradient, which equals LRP-0 elsewhere, passes on the summands.
    If a ReLU follows the layer, both give zero.

    Args:
        model: the model, in evaluation mode.
        inputs: (N, *shape).
        targets: LongTensor (N,).
    """
    seen: list[Tensor] = []

    def note(module: nn.Module, _: object, output: Any) -> Tensor | None:
        weighted = isinstance(getattr(module, "weight", None), Tensor)
        if not weighted or not isinstance(output, Tensor) or not output.requires_grad:
            return None
        # Cloned, so that an in-place ReLU after the module does not overwrite the recorded output.
        seen.append(output)
        return output.clone()

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.enable_grad():
            scores = model(inputs.detach().requires_grad_()).gather(1, targets[:, None]).sum()
            grads = torch.autograd.grad(scores, seen, allow_unused=True) if seen else []
    finally:
        for handle in handles:
            handle.remove()
    found = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    for values, grad in zip(seen, grads, strict=True):
        if grad is not None:
            found |= ((values == 0) & (grad != 0)).flatten(1).any(1)
    return found


def scale_constants(model: nn.Module, factor: float) -> None:
    """Multiply all constants that a model adds by a factor, in place: biases and running means.

    A network of linear layers, ReLU, pooling and batch normalisation then computes ``factor``
    times its outputs for ``factor`` times its inputs. A factor of zero removes the biases.

    Args:
        model: it is changed; pass a copy.
        factor: a power of two causes no rounding.
    """
    constants = {
        id(value): value
        for name, value in itertools.chain(model.named_parameters(), model.named_buffers())
        if name.endswith(("bias", "running_mean"))
    }
    with torch.no_grad():
        for value in constants.values():
            value.mul_(factor)


@contextmanager
def _recorded(model: nn.Module, seen: list[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Record (output, constant part) of every module whose output has a constant part."""

    def note(module: nn.Module, _: object, output: Any) -> Tensor | None:
        offset = _offset(module)
        if offset is None or not isinstance(output, Tensor) or not output.requires_grad:
            return None
        seen.append((output, _along_channels(module, offset, output)))
        # Cloned, so that an in-place ReLU after the module does not overwrite the recorded output.
        return output.clone()

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _offset(module: nn.Module) -> Tensor | None:
    """Return the constant that a module adds to its output, one value per channel; None: none."""
    own = getattr(module, "bias", None)
    bias = own.detach() if isinstance(own, Tensor) else None
    if isinstance(module, _RUNNING) and module.running_mean is not None:
        assert module.running_var is not None  # torch sets both or neither
        scale = (module.running_var + module.eps).rsqrt()
        if module.weight is not None:
            scale = scale * module.weight.detach()
        shift: Tensor = scale * module.running_mean
        return -shift if bias is None else bias - shift
    return bias


def _along_channels(module: nn.Module, offset: Tensor, output: Tensor) -> Tensor:
    """Reshape the constant so that it broadcasts with the output."""
    channels_first = isinstance(module, (*_RUNNING, nn.GroupNorm, _ConvNd))
    if channels_first and output.ndim > 2:
        return offset.reshape(1, -1, *[1] * (output.ndim - 2))
    return offset
