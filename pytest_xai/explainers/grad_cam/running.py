"""Functions that run grad-cam's classes on a copy of the model, without output, on one layer.

All maps of grad-cam are scaled to [0, 1] per image, and negative values are set to zero before: a
map that is zero or negative everywhere becomes zero. Maps have the size of the input, by linear
interpolation between pixel centres for images, by cubic splines between corner pixels for volumes.
grad-cam takes the last steps in float32, so a float64 map is accurate to about 1e-7.
"""

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.arguments import text
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass
from pytest_xai.explainers.adapting.target_layer import target_layer

__all__ = ["as_recorded", "layer_maps", "maps_of", "own_copy"]


# (grad_cam, copy of the model, its layer, inputs) -> an object of one of grad-cam's classes
Build = Callable[[Any, nn.Module, nn.Module, Tensor], Any]
# (that object, targets (n,) of a call, its maps (n, *spatial)) -> the final maps
Finish = Callable[[Any, Tensor, Tensor], Tensor]


def layer_maps(
    build: Build,
    layer: str | None,
    *,
    at_once: Callable[[Tensor], int] = images_per_pass,
    finish: Finish = lambda _, __, maps: maps,
) -> Callable[..., Tensor]:
    """Make an explainer from a class of grad-cam that looks at one layer.

    The maps of the explainer are (N, 1, *spatial) in [0, 1], scaled per image.

    Args:
        build: makes the object of grad-cam; it should set `as_recorded` as ``reshape_transform``.
        layer: dotted name of the module whose output is used. None takes the last convolution that
            a forward pass executes, before the normalisation or ReLU that follows it.
        at_once: returns the number of inputs for one call of the object.
        finish: returns the final maps of every call.

    Raises:
        InvalidArgument: ``layer`` is not a name. When the explainer is called: the layer does not
            exist or is not executed, or its output is not a map.
        NotApplicable: when the explainer is called: the model executes no convolution, or the layer
            runs more than once in a pass.
    """
    layer = None if layer is None else text("layer", layer)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        library = require("pytorch_grad_cam", extra="grad-cam")
        network = own_copy(model)
        chosen = target_layer(network, inputs, layer)
        cam = build(library, network, chosen, inputs)
        with _once_in_a_pass(network, chosen):
            return maps_of(cam, inputs, targets, at_once=at_once(inputs), finish=finish)

    return explain


def as_recorded(output: Tensor) -> Tensor:
    """Copy a layer's output, since a later module such as nn.ReLU(inplace=True) may overwrite it.

    It is the ``reshape_transform`` for grad-cam.

    Args:
        output: the output of the layer, or the gradient with respect to it.
    """
    return output.clone()


def own_copy(model: nn.Module) -> nn.Module:
    """Return a copy of the model in evaluation mode whose parameters require no gradients.

    A copy is needed because grad-cam switches modes, sets hooks, and clears and writes ``.grad``.

    Raises:
        NotApplicable: the model has no parameter.
    """
    if next(model.parameters(), None) is None:
        raise NotApplicable("grad-cam needs a model with a parameter, and this model has none")
    return copy.deepcopy(model).eval().requires_grad_(False)


def maps_of(
    cam: Any,
    inputs: Tensor,
    targets: Tensor,
    *,
    at_once: int,
    finish: Finish = lambda _, __, maps: maps,
) -> Tensor:
    """Call an object of grad-cam on batches of images and join its maps.

    Args:
        cam: the object; its hooks are removed afterwards.
        inputs: (N, C, *spatial).
        targets: (N,).
        at_once: number of images per call.
        finish: returns the final maps of every call.

    Returns:
        Maps (N, 1, *spatial) in the dtype and on the device of the inputs.
    """
    aims = require("pytorch_grad_cam.utils.model_targets", extra="grad-cam")
    maps = []
    try:
        # grad-cam writes progress bars to stderr.
        with torch.set_grad_enabled(cam.uses_gradients), redirect_stderr(io.StringIO()):
            for images, rows in zip(inputs.split(at_once), targets.split(at_once), strict=True):
                aim = [aims.ClassifierOutputTarget(target) for target in rows.tolist()]
                maps.append(finish(cam, rows, torch.from_numpy(cam(fresh(images), aim))))
    finally:
        cam.activations_and_grads.release()
    return torch.cat(maps).unsqueeze(1).to(inputs)


@contextmanager
def _once_in_a_pass(network: nn.Module, layer: nn.Module) -> Iterator[None]:
    """Refuse a layer that runs more than once in a pass, since grad-cam uses its first output only.

    The hooks that count the runs stay on the network, which is a copy.
    """
    runs = most = 0

    def run(*_: object) -> None:
        nonlocal runs
        runs += 1

    def passed(*_: object) -> None:
        nonlocal runs, most
        runs, most = 0, max(runs, most)

    layer.register_forward_hook(run)
    network.register_forward_hook(passed)
    yield
    if most > 1:
        raise NotApplicable(
            f"the layer runs {most} times in a pass, and grad-cam would use its first output only; "
            "name a layer that runs once with the option layer"
        )
