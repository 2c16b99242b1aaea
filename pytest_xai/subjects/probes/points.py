"""How probes are put together: rows of numbers, layers of given weights, a subject."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pytest_xai.core.subject import Subject

__all__ = ["any_draw", "chain", "linear", "probe", "rows", "vector"]


def rows(*values: Sequence[float]) -> Tensor:
    """A float64 table (N, features)."""
    return torch.tensor(values, dtype=torch.float64)


def vector(*values: float) -> Tensor:
    """float64 numbers (n,)."""
    return torch.tensor(values, dtype=torch.float64)


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A linear layer with these weights (out, in) and this bias (out,), or with none."""
    out, features = weight.shape
    # A layer's own start would be drawn from the global generator.
    layer: nn.Linear = nn.utils.skip_init(
        nn.Linear, features, out, bias=bias is not None, dtype=weight.dtype
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def chain(weights: Sequence[Tensor], biases: Sequence[Tensor] | None = None) -> nn.Sequential:
    """Linear layers with a ReLU between each two.

    Args:
        weights: (out, in) of each layer.
        biases: (out,) of each; None: layers without.
    """
    modules: list[nn.Module] = []
    for place, weight in enumerate(weights):
        if place:
            modules.append(nn.ReLU())
        modules.append(linear(weight, None if biases is None else biases[place]))
    return nn.Sequential(*modules)


def any_draw(*methods: str, truth: Tensor) -> dict[str, Tensor]:
    """One truth for methods that draw, whatever they draw."""
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
    """The subject "probe-<name>", in evaluation mode and float64.

    Args:
        name: without the prefix.
        model: in float64.
        inputs: (N, *shape).
        truths: the right maps by method.
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
