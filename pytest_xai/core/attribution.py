"""Validation of the maps that explainers return, and their conversion to one form."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_xai.errors import InvalidAttribution

__all__ = ["normalise"]


def normalise(attributions: object, inputs: Tensor) -> Tensor:
    """Validate the return value of an explainer and convert it to the form that checks use.

    Args:
        attributions: a tensor or array of the inputs' shape, of (N, 1, *spatial), or of
            (N, *spatial) where the inputs are (N, C, *spatial).
        inputs: the explained inputs, (N, *shape).

    Returns:
        A detached floating tensor on the inputs' device: (N, *shape) or (N, 1, *spatial).

    Raises:
        InvalidAttribution: the value is not a floating tensor or array (problem "type"), has
            another shape ("shape"), or contains NaN or infinite values ("finite").
    """
    if isinstance(attributions, np.ndarray):
        attributions = _from_numpy(attributions)
    if not isinstance(attributions, Tensor):
        raise InvalidAttribution(
            f"the explainer returned {type(attributions).__name__}, expected a tensor of shape "
            f"{_accepted(inputs)}",
            problem="type",
        )
    if not attributions.is_floating_point():
        raise InvalidAttribution(
            f"the explainer returned a tensor of {attributions.dtype}, expected a floating dtype",
            problem="type",
        )
    if attributions.layout != torch.strided:
        raise InvalidAttribution(
            f"the explainer returned a tensor of {attributions.layout}, expected a dense tensor",
            problem="type",
        )
    # Copied, because an explainer may write its next maps into the same memory.
    maps = attributions.detach().to(inputs.device, copy=True)
    spatial = tuple(inputs.shape[2:])
    if inputs.ndim >= 3 and maps.shape == (len(inputs), *spatial):
        maps = maps.unsqueeze(1)
    if maps.shape != inputs.shape and (not spatial or maps.shape != (len(inputs), 1, *spatial)):
        raise InvalidAttribution(
            f"the explainer returned shape {tuple(attributions.shape)} for inputs of shape "
            f"{tuple(inputs.shape)}, expected {_accepted(inputs)}",
            problem="shape",
        )
    bad = ~torch.isfinite(maps).flatten(1).all(1)
    if bad.any():
        where = bad.nonzero().flatten().tolist()
        raise InvalidAttribution(
            f"the map holds NaN or infinite values for {len(where)} of {len(maps)} images "
            f"(first: position {where[0]} of the batch)",
            problem="finite",
        )
    return maps


def _from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    try:
        # torch cannot share the memory of flipped, read-only or foreign-endian arrays.
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise InvalidAttribution(
            f"the explainer returned an array of dtype {array.dtype}, expected a floating dtype",
            problem="type",
        ) from error


def _accepted(inputs: Tensor) -> str:
    shape, spatial = tuple(inputs.shape), tuple(inputs.shape[2:])
    if not spatial:
        return f"{shape}"
    return f"{shape}, {(len(inputs), 1, *spatial)} or {(len(inputs), *spatial)}"
