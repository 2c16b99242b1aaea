"""Temporary replacement of ReLU by softplus, for attacks that need second derivatives.

The gradient of a ReLU network is piecewise constant, so that its derivative does not show how the
map changes. With softplus instead of ReLU (Dombrowski et al. 2019, section 4) it is smooth. The
network is neither copied nor changed: `softened` replaces calls of the activations while the
network runs, for modules and for functions.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

__all__ = ["softened"]

_RELU = (functional.relu, torch.relu, Tensor.relu)
_RELU_IN_PLACE = (torch.relu_, Tensor.relu_)


@contextmanager
def softened(model: nn.Module, *, sharpness: float, guided: bool = False) -> Iterator[None]:
    """Use smooth versions of ReLU, ReLU6, hard tanh and leaky ReLU while a model runs.

    Attention uses its mathematical implementation, since the fast kernels have no second
    derivative. Max-pooling and other activations are not changed.

    Args:
        model: only calls of this model are affected.
        sharpness: sharpness of softplus, ``log(1 + exp(b z)) / b`` with b the sharpness divided by
            the mean magnitude of the activation's input. It therefore has the same effect in
            networks with small and with large activations.
        guided: also rectify the gradient at each activation, as in guided backpropagation.
    """
    running: list[ExitStack] = []

    def enter(*_: object) -> None:
        running.append(ExitStack())
        running[-1].enter_context(sdpa_kernel(SDPBackend.MATH))
        running[-1].enter_context(_Soft(sharpness, guided=guided))

    def leave(*_: object) -> None:
        running.pop().close()

    handles = (
        model.register_forward_pre_hook(enter, prepend=True),
        model.register_forward_hook(leave, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Soft(TorchFunctionMode):
    """Replaces calls of piecewise linear activations by smooth versions."""

    def __init__(self, sharpness: float, *, guided: bool) -> None:
        super().__init__()
        self.sharpness, self.guided = sharpness, guided

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        smooth = self._smooth_version(func)
        if smooth is None:
            return func(*args, **options)
        in_place = func in _RELU_IN_PLACE or options.pop("inplace", False)
        values: Tensor = options.pop("input", None) if not args else args[0]
        # Cloned, because a tensor that a gradient needs must not be changed in place.
        smooth_values = smooth(values.clone() if in_place else values, *args[1:], **options)
        if self.guided and smooth_values.requires_grad:
            smooth_values.register_hook(lambda gradient: gradient.clamp(min=0))
        return values.copy_(smooth_values) if in_place else smooth_values

    def _smooth_version(self, func: Callable[..., Any]) -> Callable[..., Tensor] | None:
        if func in _RELU or func in _RELU_IN_PLACE:
            return self._relu
        if func is functional.leaky_relu:
            return self._leaky
        if func is functional.hardtanh:
            return self._clipped
        if func is functional.relu6:
            return lambda values: self._clipped(values, 0.0, 6.0)
        return None

    def _relu(self, values: Tensor) -> Tensor:
        # The mean is over the whole batch, since the scale belongs to the layer, not to the image.
        unit = self.sharpness / values.detach().abs().mean().clamp(min=1e-30)
        return functional.softplus(values * unit) / unit

    def _leaky(self, values: Tensor, negative_slope: float = 0.01) -> Tensor:
        return negative_slope * values + (1 - negative_slope) * self._relu(values)

    def _clipped(self, values: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
        return min_val + self._relu(values - min_val) - self._relu(values - max_val)
