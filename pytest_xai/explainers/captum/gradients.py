"""Gradient explainers of captum: saliency, input x gradient, integrated gradients, SmoothGrad."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.options import choice, flag, number, whole
from pytest_xai.explainers.passes import fresh, images_per_pass
from pytest_xai.optional import require

__all__ = ["input_x_gradient", "integrated_gradients", "saliency", "smooth_grad"]

_QUADRATURES = (
    "gausslegendre",
    "riemann_left",
    "riemann_middle",
    "riemann_right",
    "riemann_trapezoid",
)


def saliency(*, absolute: bool = True) -> Callable[..., Tensor]:
    """The gradient of the target's output, by default its absolute value (Simonyan 2014, sec. 3).

    Args:
        absolute: the magnitude, as in the paper; False: the signed gradient, which is linear
            in the model.

    Raises:
        InvalidArgument: ``absolute`` is no boolean.
    """
    absolute = flag("absolute", absolute)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        maps: Tensor = captum.Saliency(model).attribute(fresh(inputs), target=targets, abs=absolute)
        return maps.detach()

    return explain


def input_x_gradient() -> Callable[..., Tensor]:
    """The input times the gradient of the target's output (Shrikumar 2016)."""

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        maps: Tensor = captum.InputXGradient(model).attribute(fresh(inputs), target=targets)
        return maps.detach()

    return explain


def integrated_gradients(
    *, steps: int = 50, method: str = "gausslegendre"
) -> Callable[..., Tensor]:
    """The mean gradient on the way from the baseline times the way (Sundararajan 2017, eq. 1).

    captum rounds the weights of the nodes to float32: in float64 a map is right to about 1e-7 of
    its size. Its ``riemann_trapezoid`` gives maps that are low by 1 / steps on every model.

    Args:
        steps: nodes of the quadrature, at least 2.
        method: the quadrature, one of captum's names.

    Raises:
        InvalidArgument: ``steps`` is no integer of at least 2, or ``method`` is unknown.
    """
    steps = whole("steps", steps, least=2)
    method = choice("method", method, _QUADRATURES)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        maps: Tensor = captum.IntegratedGradients(model).attribute(
            fresh(inputs),
            baselines=baseline.detach(),
            target=targets,
            n_steps=steps,
            method=method,
            # A pass holds at least one node of every input, or captum warns.
            internal_batch_size=max(len(inputs), images_per_pass(inputs)),
        )
        return maps.detach()

    return explain


def smooth_grad(
    *, draws: int = 25, sigma: float = 0.15, absolute: bool = False
) -> Callable[..., Tensor]:
    """The mean gradient under Gaussian noise on the input (Smilkov 2017).

    The noise comes from torch's global generator. Every image of a batch sees the same draws, so
    its map does not depend on which others are explained with it.

    Args:
        draws: noisy copies per image; the paper sees little change beyond 50.
        sigma: standard deviation of the noise as a share of (largest - smallest value) of each
            image; 0.1 to 0.2 in the paper. captum itself takes an absolute figure.
        absolute: average the gradient's magnitude, as captum does by default; False: the signed
            gradient, as in the paper.

    Raises:
        InvalidArgument: ``draws`` is no positive integer, ``sigma`` no finite number >= 0, or
            ``absolute`` no boolean.
    """
    draws = whole("draws", draws)
    sigma = number("sigma", sigma)
    absolute = flag("absolute", absolute)
    if sigma < 0:
        raise InvalidArgument.of("sigma", got=repr(sigma), expected="a share >= 0")

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        tunnel = captum.NoiseTunnel(captum.Saliency(model))
        kind = inputs.device.type
        devices = [] if kind == "cpu" else [inputs.device]
        maps = []
        for index in range(len(inputs)):
            image = inputs[index : index + 1].detach()
            # Only the last image leaves the generator advanced; the others hand it back.
            repeated = index + 1 < len(inputs)
            with torch.random.fork_rng(devices, enabled=repeated, device_type=kind):
                smooth: Tensor = tunnel.attribute(
                    image,
                    target=targets[index : index + 1],
                    nt_samples=draws,
                    nt_samples_batch_size=min(draws, images_per_pass(inputs)),
                    stdevs=sigma * float(image.max() - image.min()),
                    abs=absolute,
                )
            maps.append(smooth.detach())
        return torch.cat(maps)

    return explain
