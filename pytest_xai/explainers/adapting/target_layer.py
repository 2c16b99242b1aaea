"""Choice of the layer whose activations CAM methods weight, by running the model."""

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting.passes import fresh

__all__ = ["executed_maps", "target_layer"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def target_layer(model: nn.Module, inputs: Tensor, layer: str | None) -> nn.Module:
    """Return the module of this name, or the last convolution that a forward pass executes.

    It costs one forward pass of one image.

    Args:
        model: in evaluation mode.
        inputs: (N, C, *spatial).
        layer: dotted name of a module, or None for the last convolution.

    Raises:
        InvalidArgument: the layer does not exist, is not executed, or its output is not a map.
        NotApplicable: no layer is named, and the model executes no convolution.
    """
    executed = executed_maps(model, inputs)
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
        raise NotApplicable(
            "the model executes no convolution whose output is a map; name one of its layers with "
            f"the option layer: {', '.join(executed) or 'this model has none that gives a map'}"
        )
    return convolutions[-1]


def executed_maps(model: nn.Module, inputs: Tensor) -> dict[str, nn.Module]:
    """Return the modules whose output is a map, by name, in the order in which they finish.

    A map is an output with as many dimensions as the inputs. It costs one pass of one image.

    Args:
        model: in evaluation mode; a module that runs twice has the position of its last run.
        inputs: (N, C, *spatial).
    """
    # If the model is wrapped, the empty name gives the user's own model.
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
