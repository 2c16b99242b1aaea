"""Records for the choice of the rule of each linear layer, and the absence of a stabiliser."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Layer", "Rules", "exact"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One run of a linear layer, for which a rule is chosen.

    Attributes:
        convolution: True for a convolution, also a transposed one; False for a dense layer.
        first: whether no other linear layer lies between it and the model's inputs.
        inputs: the inputs of the layer, (N, ...).
    """

    convolution: bool
    first: bool
    inputs: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The rules of a relevance propagation.

    Attributes:
        layer: makes a hook for a linear layer, from the module zennit.rules and the layer.
        share: True if added constants (shifted inputs, batch normalisation that is not folded into
            a layer) receive a share of the relevance, as biases do; False if they receive none.
    """

    layer: Callable[[Any, Layer], Any]
    share: bool = False


def exact(outputs: Tensor) -> Tensor:
    """Return denominators without a stabiliser; a neuron whose value is 0 passes nothing on."""
    return torch.where(outputs == 0, math.inf, outputs)
