"""Explainers of captum that look at one layer, found or named; maps are of the input's size."""

from collections.abc import Callable

from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.explainers.adapting.arguments import text, whole
from pytest_xai.explainers.adapting.entry import SPATIAL, Entry, claims
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass
from pytest_xai.explainers.adapting.target_layer import target_layer
from pytest_xai.explainers.captum.rules import relus_replaced, without_hook_warnings

__all__ = ["ENTRIES", "guided_grad_cam", "layer_conductance", "layer_grad_cam"]

_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


def layer_grad_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations weighted by their mean gradients, rectified (Selvaraju 2017, eq. 1, 2).

    The map is interpolated linearly from the layer's size to the input's: (N, 1, *spatial).

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output has no spatial dimensions.
        NotApplicable: when called: inputs without places, a model that executes no convolution.
    """
    layer = None if layer is None else text("layer", layer)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        spatial = tuple(inputs.shape[2:])
        chosen = target_layer(model, inputs, layer)
        maps: Tensor = captum.LayerGradCam(model, chosen).attribute(
            fresh(inputs), target=targets, relu_attributions=True
        )
        resized: Tensor = captum.LayerAttribution.interpolate(
            maps.detach(), spatial, interpolate_mode=_INTERPOLATION[len(spatial)]
        )
        return resized

    return explain


def guided_grad_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """Grad-CAM at the input's size times guided backpropagation (Selvaraju 2017, sec. 3.2).

    It is wrong where GuidedBackprop of captum is. The size is interpolated linearly, as in the
    paper; captum repeats the nearest value unless told.

    Args:
        layer: as for LayerGradCam.

    Raises:
        InvalidArgument: as for LayerGradCam, and when called: a model with functional ReLU.
        NotApplicable: when called: a model that executes no convolution.
    """
    layer = None if layer is None else text("layer", layer)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        # Only here the model runs alone: captum itself calls relu on the map of Grad-CAM.
        with relus_replaced(model, "GuidedGradCam"):
            chosen = target_layer(model, inputs, layer)
        with without_hook_warnings():
            maps: Tensor = captum.GuidedGradCam(model, chosen).attribute(
                fresh(inputs),
                target=targets,
                interpolate_mode=_INTERPOLATION[inputs.ndim - 2],
            )
        return maps.detach()

    return explain


def layer_conductance(*, layer: str | None = None, steps: int = 20) -> Callable[..., Tensor]:
    """What flows through a layer from the baseline to the input (Dhamdhere 2018, eq. 2).

    The conductances of a layer's channels are summed and interpolated linearly from the layer's
    size to the input's: (N, 1, *spatial). The path's nodes are evenly spaced with both ends, so
    that before the interpolation a layer's conductances sum to f(x) - f(x') up to the
    quadrature's error, and exactly where the model is linear behind the layer.

    Args:
        layer: as for LayerGradCam.
        steps: nodes on the path, at least 2. Where they need several passes, captum evaluates
            one more for each pass but the first.

    Raises:
        InvalidArgument: as for LayerGradCam, or ``steps`` is no integer of at least 2.
        NotApplicable: when called: a model that executes no convolution.
    """
    layer = None if layer is None else text("layer", layer)
    steps = whole("steps", steps, least=2)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        spatial = tuple(inputs.shape[2:])
        chosen = target_layer(model, inputs, layer)
        values: Tensor = captum.LayerConductance(model, chosen).attribute(
            fresh(inputs),
            baselines=baseline.detach(),
            target=targets,
            n_steps=steps - 1,
            # Gauss-Legendre nodes leave out both ends of the path, and what flows there.
            method="riemann_trapezoid",
            # A pass holds two nodes of every input, or captum warns.
            internal_batch_size=max(2 * len(inputs), images_per_pass(inputs)),
        )
        resized: Tensor = captum.LayerAttribution.interpolate(
            values.detach().sum(1, keepdim=True),
            spatial,
            interpolate_mode=_INTERPOLATION[len(spatial)],
        )
        return resized

    return explain


ENTRIES = {
    "captum:LayerGradCam": Entry(
        factory=layer_grad_cam,
        method="grad_cam",
        source="selvaraju2017",
        cost="1 forward per call, then 1 forward + 1 backward",
        claims=(
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
            *claims("selvaraju2017", "sign_convention"),
        ),
        sign="non_negative",
        inputs=SPATIAL,
    ),
    "captum:GuidedGradCam": Entry(
        factory=guided_grad_cam,
        method="guided_grad_cam",
        source="selvaraju2017",
        cost="1 forward per call, then 2 forward + 2 backward",
        claims=(
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
        ),
        inputs=SPATIAL,
    ),
    "captum:LayerConductance": Entry(
        factory=layer_conductance,
        method="conductance",
        source="dhamdhere2018",
        cost="1 forward per call, then {steps} forward + {steps} backward",
        inputs=SPATIAL,
        needs_baseline=True,
    ),
}
