"""Grad-CAM of captum, with the layer found and the map brought to the input's size."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.options import text
from pytest_xai.explainers.passes import fresh
from pytest_xai.optional import require

__all__ = ["layer_grad_cam"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


def layer_grad_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations weighted by their mean gradients, rectified (Selvaraju 2017, eq. 1, 2).

    The map is interpolated linearly from the layer's size to the input's: (N, 1, *spatial).

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: inputs with no spatial dimension or
            more than three, a model that executes no convolution, a layer that does not exist,
            is not executed, or whose output has no spatial dimensions.
    """
    layer = None if layer is None else text("layer", layer)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        spatial = tuple(inputs.shape[2:])
        if len(spatial) not in _INTERPOLATION:
            raise InvalidArgument.of(
                "inputs",
                got=f"shape {tuple(inputs.shape)}",
                expected="(N, C, *spatial) with one to three spatial dimensions for Grad-CAM",
            )
        chosen = _choose(_executed(model, inputs), layer)
        maps: Tensor = captum.LayerGradCam(model, chosen).attribute(
            fresh(inputs), target=targets, relu_attributions=True
        )
        resized: Tensor = captum.LayerAttribution.interpolate(
            maps.detach(), spatial, interpolate_mode=_INTERPOLATION[len(spatial)]
        )
        return resized

    return explain


def _executed(model: nn.Module, inputs: Tensor) -> dict[str, nn.Module]:
    """Modules by name, in the order in which a pass of one image ends them, if they give a map."""
    # A wrapper finds its user's own model under the empty name.
    root = model.get_submodule("")
    found: dict[str, nn.Module] = {}
    handles = []
    for name, module in root.named_modules():

        def note(module: nn.Module, _: object, output: object, name: str = name) -> None:
            if isinstance(output, Tensor) and output.ndim == inputs.ndim:
                found.pop(name, None)
                found[name] = module

        handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            model(fresh(inputs[:1]))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _choose(executed: dict[str, nn.Module], layer: str | None) -> nn.Module:
    if layer is not None:
        if layer not in executed:
            raise InvalidArgument.of(
                "layer",
                got=repr(layer),
                expected="a layer that the model executes and whose output has the inputs' number "
                f"of dimensions: {', '.join(executed) or 'this model has none'}",
            )
        return executed[layer]
    convolutions = [module for module in executed.values() if isinstance(module, _CONVOLUTIONS)]
    if not convolutions:
        raise InvalidArgument.of(
            "model",
            got="one that executes no convolution",
            expected="a convolutional model for Grad-CAM, or the option layer with one of: "
            + (", ".join(executed) or "(this model has no layer whose output is a map)"),
        )
    return convolutions[-1]
