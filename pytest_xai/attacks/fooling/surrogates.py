"""Differentiable implementations of common methods, for explainers that detach their maps.

Most libraries detach their maps. The attack then differentiates the implementation here whose maps
are most similar to the explainer's. Its success is measured on the explainer itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from pytest_xai.attacks.fooling.softened import softened
from pytest_xai.errors import NotApplicable

__all__ = ["SURROGATES", "Form"]

# Number of points on a path and of noisy copies; small, because each is differentiated twice.
_POINTS = 6
_SIGMA = 0.15
_INTERPOLATION = {3: "linear", 4: "bilinear", 5: "trilinear"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The arguments of a surrogate.

    Attributes:
        model: the model in evaluation mode.
        targets: LongTensor (n,).
        baseline: (n, *shape).
        sharpness: sharpness of the smooth activations, see `softened`.
        span: range of the inputs; the scale of the noise is a share of it.
        noise: random generator for the noise.
        absolute: return absolute values.
        graph: return maps that are differentiable.
    """

    model: nn.Module
    targets: Tensor
    baseline: Tensor
    sharpness: float
    span: float
    noise: torch.Generator
    absolute: bool
    graph: bool

    def slope(self, inputs: Tensor, *, guided: bool = False) -> Tensor:
        """Return the gradient of the target's output, (n, *shape)."""
        scores = self.scores(inputs, guided=guided)
        (found,) = torch.autograd.grad(scores, inputs, create_graph=self.graph)
        return found

    def scores(self, inputs: Tensor, *, guided: bool = False) -> Tensor:
        """Return the sum of the targets' outputs."""
        with softened(self.model, sharpness=self.sharpness, guided=guided):
            outputs: Tensor = self.model(inputs)
        return outputs.gather(1, self.targets[:, None]).sum()

    def sized(self, maps: Tensor) -> Tensor:
        """Return the maps, or their absolute values if asked for."""
        return maps.abs() if self.absolute else maps


def _gradient(form: Form, inputs: Tensor) -> Tensor:
    return form.sized(form.slope(inputs))


def _input_x_gradient(form: Form, inputs: Tensor) -> Tensor:
    return form.sized(inputs * form.slope(inputs))


def _integrated_gradients(form: Form, inputs: Tensor) -> Tensor:
    """Integrate by the midpoint rule from the baseline (Sundararajan et al. 2017, equation 3)."""
    change = inputs - form.baseline
    places = [(step + 0.5) / _POINTS for step in range(_POINTS)]
    slopes = [form.slope(form.baseline + place * change) for place in places]
    return form.sized(change * torch.stack(slopes).mean(0))


def _smooth_grad(form: Form, inputs: Tensor) -> Tensor:
    """Average gradients, or their absolute values, of noisy inputs (Smilkov et al. 2017)."""
    slopes = []
    for _ in range(_POINTS):
        drawn = torch.randn(inputs.shape, generator=form.noise, dtype=inputs.dtype)
        slopes.append(form.sized(form.slope(inputs + _SIGMA * form.span * drawn.to(inputs.device))))
    return torch.stack(slopes).mean(0)


def _guided_backprop(form: Form, inputs: Tensor) -> Tensor:
    return form.sized(form.slope(inputs, guided=True))


def _grad_cam(form: Form, inputs: Tensor) -> Tensor:
    """Grad-CAM of the last convolution that runs (Selvaraju et al. 2017, equations 1 and 2)."""
    ran: list[Tensor] = []

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == inputs.ndim:
            ran.append(output)

    convolutions = [module for module in form.model.modules() if isinstance(module, _ConvNd)]
    handles = [module.register_forward_hook(note) for module in convolutions]
    try:
        scores = form.scores(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise NotApplicable("the model runs no convolution")
    (slope,) = torch.autograd.grad(scores, ran[-1], create_graph=form.graph)
    weights = slope.mean(tuple(range(2, slope.ndim)), keepdim=True)
    maps = (weights * ran[-1]).sum(1, keepdim=True).relu()
    return functional.interpolate(
        maps, inputs.shape[2:], mode=_INTERPOLATION[inputs.ndim], align_corners=False
    )


SURROGATES: Mapping[str, Callable[[Form, Tensor], Tensor]] = {
    "gradient": _gradient,
    "input x gradient": _input_x_gradient,
    "integrated gradients": _integrated_gradients,
    "SmoothGrad": _smooth_grad,
    "guided backpropagation": _guided_backprop,
    "Grad-CAM": _grad_cam,
}
