"""Construction of probes: tables of numbers, layers with given weights, subjects."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pytest_xai.core.subject import Subject

__all__ = ["any_draw", "chain", "linear", "probe", "rows", "vector"]


def rows(*values: Sequence[float]) -> Tensor:
    """Return a float64 table (N, features)."""
    return torch.tensor(values, dtype=torch.float64)


def vector(*values: float) -> Tensor:
    """Return float64 numbers (n,)."""
    return torch.tensor(values, dtype=torch.float64)


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """Return a linear layer with these weights (out, in) and this bias (out,), or no bias."""
    out, features = weight.shape
    # Skips the default initialisation, which would use the global generator.
    layer: nn.Linear = nn.utils.skip_init(
        nn.Linear, features, out, bias=bias is not None, dtype=weight.dtype
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def chain(weights: Sequence[Tensor], biases: Sequence[Tensor] | None = None) -> nn.Sequential:
    """Return linear layers with ReLUs between them.

    Args:
        weights: (out, in) of each layer.
        biases: (out,) of each layer; None: no biases.
    """
    modules: list[nn.Module] = []
    for place, weight in enumerate(weights):
        if place:
            modules.append(nn.ReLU())
        modules.append(linear(weight, None if biases is None else biases[place]))
    return nn.Sequential(*modules)


def any_draw(*methods: str, truth: Tensor) -> dict[str, Tensor]:
    """Return one truth for stochastic methods whose map is the same for every draw."""
    return {f"any draw of {method}": truth for method in methods}


def probe(
    name: str,
    model: nn.Module,
    inputs: Tensor,
    truths: Mapping[str, Tensor],
    *,
    targets: Tensor | None = None,
    baseline: Tensor | None = None,
) -> Subject:
    """Return the subject "probe-<name>", in evaluation mode and float64.

    Args:
        name: name without the prefix.
        model: a model in float64.
        inputs: (N, *shape).
        truths: the correct maps by method.
        targets: LongTensor (N,); None: 0 for all.
        baseline: (1 or N, *shape); None: zeros.
    """
    return Subject(
        model.eval(),
        inputs,
        targets=0 if targets is None else targets,
        baseline=baseline,
        name=f"probe-{name}",
        truths=truths,
    )
