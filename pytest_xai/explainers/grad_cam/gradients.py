"""Explainers of grad-cam that weight a layer's activations by gradients."""

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

_COST = "1 forward per call, then 1 forward + 1 backward"
_INPUTS = frozenset({"image", "volume"})


def grad_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations weighted by their mean gradients (Selvaraju 2017, eq. 1, 2).

    Maps (N, 1, *spatial) in [0, 1], stretched per image, right to about 1e-7.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice.
    """
    return layer_maps(_build("GradCAM"), layer)


def grad_cam_plus_plus(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations weighted by sums of positive gradients (Chattopadhay 2018, eq. 19).

    Maps (N, 1, *spatial) in [0, 1], stretched per image. The equation is for activations that are
    not negative: name a layer after its ReLU. grad-cam 1.5.7 adds 1e-6 to the denominator, which
    counts where gradients per place are below about 1e-3: with gradients of 3e-4 a map was off by
    0.26.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice.
    """
    return layer_maps(_build("GradCAMPlusPlus"), layer)


def xgrad_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations weighted by gradients averaged over activation (Fu 2020).

    Maps (N, 1, *spatial) in [0, 1], stretched per image. A weight is divided by the sum of its
    channel, which may be near zero before a ReLU: name a layer after it. grad-cam adds 1e-7 to
    the sum.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice.
    """
    return layer_maps(_build("XGradCAM"), layer)


def hires_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations times their gradients, summed over channels (Draelos 2020).

    Maps (N, 1, *spatial) in [0, 1], stretched per image: the sum's negative part is dropped.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice.
    """
    return layer_maps(_build("HiResCAM"), layer)


def layer_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations times their positive gradients, place by place (Jiang 2021).

    Maps (N, 1, *spatial) in [0, 1], stretched per image.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice.
    """
    return layer_maps(_build("LayerCAM"), layer)


def _build(name: str) -> Callable[..., Any]:
    def build(library: Any, network: nn.Module, layer: nn.Module, _: Tensor) -> Any:
        return getattr(library, name)(network, [layer], reshape_transform=as_recorded)

    return build


_CLAIMS = (
    *claims("kindermans2019", "shift_invariance"),
    *claims("selvaraju2017", "sign_convention"),
)

ENTRIES = {
    "gradcam:GradCAM": Entry(
        factory=grad_cam,
        method="grad_cam_scaled",
        source="selvaraju2017",
        cost=_COST,
        claims=_CLAIMS,
        sign="non_negative",
        inputs=_INPUTS,
    ),
    "gradcam:GradCAMPlusPlus": Entry(
        factory=grad_cam_plus_plus,
        method="grad_cam_plus_plus_scaled",
        source="chattopadhay2018",
        cost=_COST,
        claims=_CLAIMS,
        sign="non_negative",
        inputs=_INPUTS,
    ),
    "gradcam:XGradCAM": Entry(
        factory=xgrad_cam,
        method="xgrad_cam_scaled",
        source="fu2020",
        cost=_COST,
        claims=_CLAIMS,
        sign="non_negative",
        inputs=_INPUTS,
    ),
    "gradcam:HiResCAM": Entry(
        factory=hires_cam,
        method="hires_cam_scaled",
        source="draelos2020",
        cost=_COST,
        claims=_CLAIMS,
        sign="non_negative",
        inputs=_INPUTS,
    ),
    "gradcam:LayerCAM": Entry(
        factory=layer_cam,
        method="layer_cam_scaled",
        source="jiang2021",
        cost=_COST,
        claims=_CLAIMS,
        sign="non_negative",
        inputs=_INPUTS,
    ),
}
