"""Validates the maps and masks of measures, and converts them to float64."""

import torch
from torch import Tensor

from pytest_xai.errors import InvalidArgument

__all__ = [
    "as_float64",
    "float64_device",
    "float64_pair",
    "only_finite",
    "require_batch",
    "require_masks",
    "require_same",
]


def require_batch(tensor: object, argument: str) -> None:
    """Require a floating tensor with one array per image.

    Args:
        tensor: what the caller passed.
        argument: its name in the caller's signature.

    Raises:
        InvalidArgument: it is not a floating tensor (N, *shape) with an element per image or
            more.
    """
    expected = "a floating tensor (N, *shape) with at least one element per image"
    if not isinstance(tensor, Tensor):
        raise InvalidArgument.of(argument, got=type(tensor).__name__, expected=expected)
    if not tensor.is_floating_point():
        raise InvalidArgument.of(argument, got=f"dtype {tensor.dtype}", expected=expected)
    _require_arrays(tensor, argument, expected)


def require_masks(tensor: object, argument: str) -> None:
    """Require a boolean tensor with one mask per image.

    Args:
        tensor: what the caller passed.
        argument: its name in the caller's signature.

    Raises:
        InvalidArgument: it is not a boolean tensor (N, *shape) with one element per image or more.
    """
    expected = "a boolean tensor (N, *shape) with at least one element per image"
    if not isinstance(tensor, Tensor):
        raise InvalidArgument.of(argument, got=type(tensor).__name__, expected=expected)
    if tensor.dtype != torch.bool:
        raise InvalidArgument.of(argument, got=f"dtype {tensor.dtype}", expected=expected)
    _require_arrays(tensor, argument, expected)


def _require_arrays(tensor: Tensor, argument: str, expected: str) -> None:
    if tensor.ndim < 2 or tensor.shape[1:].numel() == 0:
        raise InvalidArgument.of(argument, got=f"shape {tuple(tensor.shape)}", expected=expected)


def require_same(tensor: Tensor, argument: str, other: Tensor, other_argument: str) -> None:
    """Require that two tensors have the same shape and device.

    Args:
        tensor: the tensor that the message is about.
        argument: its name in the caller's signature.
        other: the tensor with the required shape and device.
        other_argument: name of ``other`` in the message.

    Raises:
        InvalidArgument: the shapes or the devices differ.
    """
    if tensor.shape != other.shape:
        raise InvalidArgument.of(
            argument,
            got=f"shape {tuple(tensor.shape)}",
            expected=f"{tuple(other.shape)}, the shape of {other_argument}",
        )
    if tensor.device != other.device:
        raise InvalidArgument.of(
            argument,
            got=f"device {tensor.device}",
            expected=f"{other.device}, the device of {other_argument}",
        )


def float64_device(device: torch.device) -> torch.device:
    """Return the device for float64 computations: the CPU for Apple's GPUs, which lack float64."""
    return torch.device("cpu") if device.type == "mps" else device


def as_float64(tensor: Tensor) -> Tensor:
    """Return the tensor in float64, on its own device if that has float64; its graph is kept."""
    # In two steps, because the conversion must happen on a device that has float64.
    return tensor.to(float64_device(tensor.device)).to(torch.float64)


def float64_pair(map_a: Tensor, map_b: Tensor) -> tuple[Tensor, Tensor]:
    """Validate the two maps of a measure and return them in float64.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape and the device of map_a.

    Raises:
        InvalidArgument: a map is not as above.
    """
    require_batch(map_a, "map_a")
    require_batch(map_b, "map_b")
    require_same(map_b, "map_b", map_a, "map_a")
    return as_float64(map_a), as_float64(map_b)


def only_finite(values: Tensor, *maps: Tensor) -> Tensor:
    """Return the values (N,), with NaN for images whose maps (N, *shape) hold NaN or inf.

    It is for measures that do not propagate NaN and inf by themselves: ranks and comparisons turn
    them into ordinary numbers.
    """
    for each in maps:
        values = values.masked_fill(~each.isfinite().flatten(1).all(1), torch.nan)
    return values
