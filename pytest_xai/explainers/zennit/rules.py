"""What a relevance propagation is told: which rule for which run of a linear layer."""

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
        convolution: it is a convolution, plain or transposed; else a dense layer.
        first: no other linear layer lies between it and the model's inputs.
        inputs: what it reads, (N, ...).
    """

    convolution: bool
    first: bool
    inputs: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How relevance is propagated.

    Attributes:
        layer: gives a new hook for a linear layer, from zennit.rules and the layer.
        share: constants that are added to single values (batch normalisation that no layer can take
            in, shifted inputs) take their share of the relevance, as biases do; else: none.
    """

    layer: Callable[[Any, Layer], Any]
    share: bool = False


def exact(outputs: Tensor) -> Tensor:
    """A denominator without a stabiliser: a neuron whose value is exactly 0 passes nothing on."""
    return torch.where(outputs == 0, math.inf, outputs)
