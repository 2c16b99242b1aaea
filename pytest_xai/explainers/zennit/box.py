"""The z-box rule, and the validation of its bounds."""

from typing import Any

import torch
from torch import Tensor

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import number
from pytest_xai.explainers.zennit.rules import Layer, exact

__all__ = ["Box", "bounds", "z_box"]

Box = tuple[float | None, float | None]

# As a share of the width of the box: tolerance for the rounding of a model's normalisation.
_SLACK = 1e-5


def bounds(low: object, high: object) -> Box:
    """Return the options low and high if they are valid.

    Raises:
        InvalidArgument: one is neither None nor a finite number, or low is not below high.
    """
    box = (
        None if low is None else number("low", low),
        None if high is None else number("high", high),
    )
    if box[0] is not None and box[1] is not None and box[0] >= box[1]:
        raise InvalidArgument.of("low", got=repr(low), expected=f"a number below high, {high!r}")
    return box


def z_box(rules: Any, layer: Layer, box: Box) -> Any:
    """Return the z-box rule for a first layer.

    A bound that is None is replaced by the smallest or largest value of each image.

    Args:
        rules: the module zennit.rules.
        layer: the first layer, whose inputs must lie in the box.
        box: low and high.

    Raises:
        InvalidArgument: an input of the layer lies outside the box.
    """
    own = layer.inputs.flatten(1)
    shape = (-1, *[1] * (layer.inputs.ndim - 1))
    low = _bound(box[0], own.amin(1)).reshape(shape)
    high = _bound(box[1], own.amax(1)).reshape(shape)
    slack = _SLACK * (high - low)
    for name, bound, beyond in (
        ("low", low, layer.inputs < low - slack),
        ("high", high, layer.inputs > high + slack),
    ):
        if bool(beyond.any()):
            least, largest = float(own.min()), float(own.max())
            raise InvalidArgument.of(
                name,
                got=f"{float(bound[0]):g}",
                expected="a box that contains the inputs of the model's first layer, here values "
                f"from {least:g} to {largest:g}",
            )
    return rules.ZBox(low=low, high=high, stabilizer=exact)


def _bound(given: float | None, own: Tensor) -> Tensor:
    return own if given is None else torch.full_like(own, given)
