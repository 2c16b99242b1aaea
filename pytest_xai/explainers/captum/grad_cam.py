"""Explainers of captum that use one layer; their maps are resized to the input."""

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
        layer: dotted name of the module whose output is used. None takes the last convolution that
            a forward pass executes, before the normalisation or ReLU that follows it.

    Raises:
        InvalidArgument: ``layer`` is not a name. When called: the layer does not exist or is not
            executed, or its output has no spatial dimensions.
        NotApplicable: when called: the inputs have no spatial dimensions, or the model executes no
            convolution.
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

    It is wrong on the networks on which captum's GuidedBackprop is. The map is interpolated
    linearly, as in the paper; captum's default is to repeat the nearest value.

    Args:
        layer: as for LayerGradCam.

    Raises:
        InvalidArgument: as for LayerGradCam, and when called: the model calls ReLU as a function.
        NotApplicable: when called: the model executes no convolution.
    """
    layer = None if layer is None else text("layer", layer)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        # Functional ReLUs are detected in this pass, since captum itself calls relu on the map.
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
    """The flow of integrated gradients through the units of a layer (Dhamdhere 2018, eq. 2).

    The conductances of a layer's channels are summed and interpolated linearly from the layer's
    size to the input's: (N, 1, *spatial). The nodes on the path are evenly spaced and include both
    ends. Before the interpolation the conductances of a layer therefore sum to f(x) - f(x') up to
    the error of the quadrature, and exactly if the model is linear after the layer.

    Args:
        layer: as for LayerGradCam.
        steps: number of nodes on the path, at least 2. If they need several passes, captum
            evaluates one more node for each pass but the first.

    Raises:
        InvalidArgument: as for LayerGradCam, or ``steps`` is not an integer of at least 2.
        NotApplicable: when called: the model executes no convolution.
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
            # Gauss-Legendre nodes would leave out the flow at both ends of the path.
            method="riemann_trapezoid",
            # captum warns unless a pass holds at least two nodes of every input.
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
