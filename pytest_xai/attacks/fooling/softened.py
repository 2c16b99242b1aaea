"""A network whose kinks are rounded while it runs: second derivatives for attacks on maps.

The gradient of a ReLU network is piecewise constant, so that nothing says in which direction its
map changes. With softplus in place of ReLU (Dombrowski et al. 2019, section 4) it is smooth. The
network itself is not copied and not written: its activations are other ones while it runs within
`softened`, whether they are modules or plain calls.
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
    """Run a model with softplus in place of ReLU, ReLU6, hard tanh and leaky ReLU.

    Attention is computed in the plain way, as its fast kernels have no second derivative. Max-pools
    and other activations stay as they are.

    Args:
        model: whose calls are meant; what runs outside of them is left alone.
        sharpness: of the bend, in units of one over the mean magnitude of an activation's input:
            softplus is ``log(1 + exp(b z)) / b`` with b the sharpness over that mean, so that it
            means the same in a network of small and of large activations.
        guided: what flows back through an activation is rectified as well, as in guided
            backpropagation.
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
    """Answers calls of kinked activations with their smooth relatives."""

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
        smooth = self._relative(func)
        if smooth is None:
            return func(*args, **options)
        in_place = func in _RELU_IN_PLACE or options.pop("inplace", False)
        values: Tensor = options.pop("input", None) if not args else args[0]
        # A copy is bent: what is written in place must not be what a gradient is taken of.
        bent = smooth(values.clone() if in_place else values, *args[1:], **options)
        if self.guided and bent.requires_grad:
            bent.register_hook(lambda gradient: gradient.clamp(min=0))
        return values.copy_(bent) if in_place else bent

    def _relative(self, func: Callable[..., Any]) -> Callable[..., Tensor] | None:
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
        # Of the whole batch: the unit is a matter of the layer, not of the image.
        unit = self.sharpness / values.detach().abs().mean().clamp(min=1e-30)
        return functional.softplus(values * unit) / unit

    def _leaky(self, values: Tensor, negative_slope: float = 0.01) -> Tensor:
        return negative_slope * values + (1 - negative_slope) * self._relu(values)

    def _clipped(self, values: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
        return min_val + self._relu(values - min_val) - self._relu(values - max_val)
