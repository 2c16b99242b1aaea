"""How the classes of grad-cam are run: on a copy of the model, quietly, and on one layer.

What all of its maps have in common: they lie between 0 and 1, stretched per image, and a map that
is zero or negative everywhere stays zero. The size is the input's, by linear interpolation between
pixel centres for images, by cubic splines between corner pixels for volumes. The last steps are
taken in float32, so that a float64 map is right to about 1e-7.
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
# (that object, targets (n,) of a call, maps (n, *spatial) that it gave) -> the maps
Finish = Callable[[Any, Tensor, Tensor], Tensor]


def layer_maps(
    build: Build,
    layer: str | None,
    *,
    at_once: Callable[[Tensor], int] = images_per_pass,
    finish: Finish = lambda _, __, maps: maps,
) -> Callable[..., Tensor]:
    """The explainer that a class of grad-cam is for one layer.

    Args:
        build: makes the object; with `as_recorded` the layer's activations are what it gave.
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes.
        at_once: how many of these inputs the object is given at once.
        finish: has the last word on every call's maps.

    Raises:
        InvalidArgument: ``layer`` is no name.
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
    """Keep a layer's output from what writes into it, as nn.ReLU(inplace=True) does after it.

    Args:
        output: of the layer, or the gradient for it; the ``reshape_transform`` of grad-cam.
    """
    return output.clone()


def own_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, of which the inputs alone take gradients.

    grad-cam switches modes, sets hooks, clears ``.grad`` and writes it.

    Raises:
        NotApplicable: the model has no parameter.
    """
    if next(model.parameters(), None) is None:
        raise NotApplicable("grad-cam asks a model's first parameter for its device; it has none")
    return copy.deepcopy(model).eval().requires_grad_(False)


def maps_of(
    cam: Any,
    inputs: Tensor,
    targets: Tensor,
    *,
    at_once: int,
    finish: Finish = lambda _, __, maps: maps,
) -> Tensor:
    """Call an object of grad-cam on so many images at once.

    Args:
        cam: the object; its hooks are removed.
        inputs: (N, C, *spatial).
        targets: (N,).
        at_once: images per call.
        finish: has the last word on every call's maps.

    Returns:
        Maps (N, 1, *spatial) of the inputs' dtype, on their device.
    """
    aims = require("pytorch_grad_cam.utils.model_targets", extra="grad-cam")
    maps = []
    try:
        # Its progress bars go to stderr.
        with torch.set_grad_enabled(cam.uses_gradients), redirect_stderr(io.StringIO()):
            for images, rows in zip(inputs.split(at_once), targets.split(at_once), strict=True):
                aim = [aims.ClassifierOutputTarget(target) for target in rows.tolist()]
                maps.append(finish(cam, rows, torch.from_numpy(cam(fresh(images), aim))))
    finally:
        cam.activations_and_grads.release()
    return torch.cat(maps).unsqueeze(1).to(inputs)


@contextmanager
def _once_in_a_pass(network: nn.Module, layer: nn.Module) -> Iterator[None]:
    """Refuse a layer that runs more than once in a pass: grad-cam would take its first output.

    The watching hooks stay on the network, which is a copy.
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
            f"the layer runs {most} times in a pass, and grad-cam would take what it gives first; "
            "name a layer that runs once with the option layer"
        )
