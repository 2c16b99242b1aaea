"""Control explainers, which do not explain the model: checks that detect this must fail them.

Their correct outcomes are known beforehand, because no control uses what the model computes for the
target.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import number
from pytest_xai.explainers.adapting.entry import Entry
from pytest_xai.explainers.adapting.passes import fresh

__all__ = ["ENTRIES", "constant_map", "edge_detector", "input_itself", "other_class", "random_map"]


def random_map() -> Callable[..., Tensor]:
    """Gaussian noise of the input's shape, from torch's global generator."""

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return torch.randn_like(inputs)

    return explain


def constant_map(*, value: float = 1.0) -> Callable[..., Tensor]:
    """A map with the same value everywhere.

    Args:
        value: the value of every element of the map.

    Raises:
        InvalidArgument: ``value`` is not a finite number.
    """
    value = number("value", value)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return torch.full_like(inputs, value)

    return explain


def input_itself() -> Callable[..., Tensor]:
    """The input, returned as its own explanation."""

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return inputs.detach().clone()

    return explain


def edge_detector() -> Callable[..., Tensor]:
    """The edges of the channel mean: Sobel magnitude, borders repeated (Adebayo 2018).

    The derivative along each spatial dimension is the central difference, smoothed by (1, 2, 1)
    along the other dimensions. The map is (N, 1, *spatial). Inputs (N, features) are treated as
    signals of one channel and give a map (N, features).
    """

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        values = inputs.detach()
        values = values if values.ndim == 2 else values.mean(1, keepdim=True)
        axes = range(values.ndim - 1, 0 if values.ndim == 2 else 1, -1)
        squares = torch.zeros_like(values)
        for along in axes:
            edges = values
            for axis in axes:
                weights = (-1.0, 0.0, 1.0) if axis == along else (1.0, 2.0, 1.0)
                edges = _correlate(edges, axis, weights)
            squares += edges.square()
        return squares.sqrt()

    return explain


def other_class() -> Callable[..., Tensor]:
    """The gradient of another class: (target + 1) mod classes.

    Raises:
        InvalidArgument: when called, on a model with a single output.
    """

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            images = fresh(inputs)
            outputs = model(images)
            classes = outputs.shape[1]
            if classes < 2:
                raise InvalidArgument.of(
                    "model", got="a model with a single output", expected="at least two classes"
                )
            others = (targets + 1) % classes
            total = outputs.gather(1, others.unsqueeze(1)).sum()
            (gradient,) = torch.autograd.grad(total, images)
        return gradient.detach()

    return explain


def _correlate(values: Tensor, axis: int, weights: tuple[float, float, float]) -> Tensor:
    side = values.shape[axis]
    ends = values.narrow(axis, 0, 1), values.narrow(axis, side - 1, 1)
    padded = torch.cat([ends[0], values, ends[1]], axis)
    parts = [padded.narrow(axis, shift, side) * weight for shift, weight in enumerate(weights)]
    return parts[0] + parts[1] + parts[2]


ENTRIES = {
    "control:RandomMap": Entry(factory=random_map, cost="none", stochastic=True),
    "control:ConstantMap": Entry(factory=constant_map, cost="none"),
    "control:InputItself": Entry(factory=input_itself, cost="none"),
    "control:EdgeDetector": Entry(factory=edge_detector, source="adebayo2018", cost="none"),
    "control:OtherClass": Entry(factory=other_class, cost="1 forward + 1 backward"),
}
