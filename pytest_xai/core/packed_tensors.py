"""Tensors as JSON can hold them, to the last bit."""

import base64
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["packed", "unpacked"]


def packed(tensor: Tensor) -> dict[str, Any]:
    """Return the shape, the dtype and the bytes (base64) of a tensor as a JSON object."""
    values = tensor.detach().cpu().contiguous().flatten()
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "base64": base64.b64encode(values.view(torch.uint8).numpy().tobytes()).decode("ascii"),
    }


def unpacked(entry: Mapping[str, Any]) -> Tensor:
    """Return the tensor that `packed` stored, such as the adversarial input of a report."""
    data = bytearray(base64.b64decode(entry["base64"]))
    return torch.frombuffer(data, dtype=getattr(torch, entry["dtype"])).reshape(entry["shape"])
