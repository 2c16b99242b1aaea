"""Explainers of grad-cam that weight a layer's activations by gradients.

`layer_maps` describes the option ``layer``, the maps and the errors, which all of them share.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.grad_cam.running import as_recorded, layer_maps

__all__ = [
    "ENTRIES",
    "grad_cam",
    "grad_cam_plus_plus",
    "hires_cam",
    "layer_cam",
    "xgrad_cam",
]


def grad_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations weighted by their mean gradients (Selvaraju 2017, eq. 1, 2)."""
    return layer_maps(_build("GradCAM"), layer)


def grad_cam_plus_plus(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations weighted by sums of positive gradients (Chattopadhay 2018, eq. 19).

    The equation holds for activations that are not negative: name a layer after its ReLU. grad-cam
    1.5.7 adds 1e-6 to the denominator, which matters where gradients per position are below about
    1e-3: with gradients of 3e-4 a map had an error of 0.26.
    """
    return layer_maps(_build("GradCAMPlusPlus"), layer)


def xgrad_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations weighted by activation-weighted mean gradients (Fu 2020).

    A weight is divided by the sum of its channel's activations, which may be near zero before a
    ReLU: name a layer after it. grad-cam adds 1e-7 to the sum.
    """
    return layer_maps(_build("XGradCAM"), layer)


def hires_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations times their gradients, summed over channels (Draelos 2020).

    Negative sums are set to zero.
    """
    return layer_maps(_build("HiResCAM"), layer)


def layer_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations times their positive gradients, elementwise (Jiang 2021)."""
    return layer_maps(_build("LayerCAM"), layer)


def _build(name: str) -> Callable[..., Any]:
    def build(library: Any, network: nn.Module, layer: nn.Module, _: Tensor) -> Any:
        return getattr(library, name)(network, [layer], reshape_transform=as_recorded)

    return build


def _entry(factory: Callable[..., Callable[..., Tensor]], method: str, source: str) -> Entry:
    return Entry(
        factory=factory,
        method=method,
        source=source,
        cost="1 forward per call, then 1 forward + 1 backward",
        claims=(
            *claims("kindermans2019", "shift_invariance"),
            *claims("selvaraju2017", "sign_convention"),
        ),
        sign="non_negative",
        inputs=frozenset({"image", "volume"}),
    )


ENTRIES = {
    "gradcam:GradCAM": _entry(grad_cam, "grad_cam_scaled", "selvaraju2017"),
    "gradcam:GradCAMPlusPlus": _entry(
        grad_cam_plus_plus, "grad_cam_plus_plus_scaled", "chattopadhay2018"
    ),
    "gradcam:XGradCAM": _entry(xgrad_cam, "xgrad_cam_scaled", "fu2020"),
    "gradcam:HiResCAM": _entry(hires_cam, "hires_cam_scaled", "draelos2020"),
    "gradcam:LayerCAM": _entry(layer_cam, "layer_cam_scaled", "jiang2021"),
}
