"""Probes of linear layers with ReLUs between them, on tables of numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_xai.core.subject import Subject
from pytest_xai.subjects.probes.chains import Chain
from pytest_xai.subjects.probes.lrp_rules import relevances
from pytest_xai.subjects.probes.points import chain, probe, rows, vector
from pytest_xai.subjects.probes.truths import of_chain, of_one_hidden, players

__all__ = ["NETWORKS"]


def _chained(
    name: str,
    weights: Sequence[Tensor],
    inputs: Tensor,
    *,
    biases: Sequence[Tensor] | None = None,
    baseline: Tensor | None = None,
    targets: Tensor | None = None,
) -> Subject:
    form = Chain(
        weights=weights,
        biases=biases or [weight.new_zeros(len(weight)) for weight in weights],
        inputs=inputs,
        baseline=torch.zeros_like(inputs) if baseline is None else baseline,
        targets=torch.zeros(len(inputs), dtype=torch.long) if targets is None else targets,
    )
    return probe(
        name,
        chain(weights, biases),
        inputs,
        of_one_hidden(form) if len(weights) == 2 else of_chain(form),
        targets=form.targets,
        baseline=form.baseline,
    )


def _additive() -> Subject:
    """sum_i g_i(x_i), with one ReLU and bias for each feature."""
    return _chained(
        "additive",
        [rows([1, 0, 0], [0, -2, 0], [0, 0, 1]), rows([2, 1, -3])],
        rows([1, -2, 3], [-1, 0.25, 2], [2, 1, -2]),
        biases=[vector(0.5, 1, -1), vector(0.25)],
        baseline=rows([0, 0, 0], [1, 1, -1], [-2, -1, 2]),
    )


def _minimum() -> Subject:
    """min(x1, x2) = relu(x1) - relu(x1 - x2) for non-negative numbers."""
    return _chained(
        "minimum",
        [rows([1, 0], [1, -1]), rows([1, -1])],
        rows([5, 3], [2, 4], [3, 1]),
        baseline=rows([0, 0], [0, 0], [1, 2]),
    )


def _saturating() -> Subject:
    """min(1, x1 + x2) = 1 - relu(1 - x1 - x2), OR of two inputs; no gradient at saturation."""
    return _chained(
        "saturating",
        [rows([-1, -1]), rows([-1])],
        rows([1, 1], [2, 0.5], [1.5, 0], [0.25, 0.5]),
        biases=[vector(1), vector(1)],
    )


def _both() -> Subject:
    """AND of two inputs, relu(x1 + x2 - 1), whose bias absorbs relevance."""
    return _chained(
        "and",
        [rows([1, 1]), rows([1])],
        rows([1, 1], [1, 0.5], [0.25, 0.5]),
        biases=[vector(-1), vector(0)],
    )


def _difference() -> Subject:
    """relu(x1 - x2); where it is 0, only RevealCancel and Shapley values are not 0 for x1."""
    return _chained("difference", [rows([1, -1]), rows([1])], rows([3, 1], [1, 3], [2, 0.5]))


def _symmetric() -> Subject:
    """A function that is symmetric in x1 and x2, which have equal values, and depends on x3."""
    return _chained(
        "symmetric",
        [rows([1, 1, -1], [2, -1, 1], [-1, 2, 1]), rows([1, 0.5, 0.5])],
        rows([1, 1, 0.5], [-2, -2, 1], [0.75, 0.75, 2]),
        biases=[vector(-0.25, 0.5, 0.5), vector(0)],
        baseline=rows([0, 0, 0], [1, 1, -0.5], [-1, -1, 1]),
    )


def _hidden() -> Subject:
    """One hidden layer and two classes, with weights of both signs.

    Methods that rectify signals differ on it. Units switch at a quarter or half of the path, so
    that a midpoint rule of 4 n nodes is exact.
    """
    inputs = rows([1, 2, -1], [-1, 0.5, 2], [2, -1, 1.5], [-1, -2, 0.5])
    return _chained(
        "hidden",
        [
            rows([1, -1, 0.5], [-0.5, 2, 1], [1.5, 0.5, -2], [-1, -1, 1]),
            rows([1, -2, 0.5, 1.5], [-1, 1, 2, -0.5]),
        ],
        inputs,
        biases=[vector(0, 0, 0, 0), vector(0.2, -0.1)],
        baseline=inputs * rows([0], [-1 / 3], [0.5], [-1]),
        targets=torch.tensor([0, 1, 1, 0]),
    )


def _deep(name: str, biases: Sequence[Tensor] | None, baseline: Tensor | None) -> Subject:
    weights = [
        rows([1, -1, 0.5], [-0.5, 2, 1], [1.5, 0.5, -2], [-1, 1, 1]),
        rows([1, 0.5, -1, 0.25], [-1, 1, 0.5, -0.5], [0.5, -0.25, 2, 1]),
        rows([1, -1, 0.5], [-0.5, 1, 2]),
    ]
    return _chained(
        name,
        weights,
        rows([1, 2, -0.5], [-1, 0.5, 2], [2, -1, 1.5], [0.5, 1, 1.25]),
        biases=biases,
        baseline=baseline,
        targets=torch.tensor([0, 1, 0, 1]),
    )


def _bias_free() -> Subject:
    """Three layers without biases; f is homogeneous, and all rules give x times gradient."""
    return _deep("bias-free", None, None)


def _biased() -> Subject:
    """Three layers with biases and a baseline other than 0."""
    biases = [vector(0.25, -0.5, 0.1, 0.3), vector(-0.3, 0.2, 0.15), vector(0.2, -0.1)]
    return _deep("biased", biases, rows([0.5, -1, 1]))


def _pair(name: str, first: Tensor, second: Tensor) -> Subject:
    return _chained(
        name,
        [torch.eye(2, dtype=torch.float64), rows([1, -1]), rows([1])],
        rows([3, 1], [6, 1]),
        biases=[first, second, vector(0)],
    )


def _pair_late() -> Subject:
    """relu(x1 - 1 - relu(x2)) for x >= 0, one of the two equal functions of Sundararajan (2017)."""
    return _of_pair(_pair("pair-late", vector(0, 0), vector(-1)))


def _pair_early() -> Subject:
    """relu(relu(x1 - 1) - relu(x2)), the same function for x1 >= 1; rules give other maps."""
    return _of_pair(_pair("pair-early", vector(-1, 0), vector(0)))


def _of_pair(made: Subject) -> Subject:
    """Add the truths of methods that depend on the function alone, which both networks share.

    On the path from 0 the gradient is 0 until a = 1 / (x1 - x2), and (1, -1) afterwards. This
    share of the path is 1 - a = f(x) / (x1 - x2).
    """
    inputs, share = made.inputs, 1 - 1 / (made.inputs[:, :1] - made.inputs[:, 1:])
    truth = inputs * rows([1, -1]) * share

    def score(given: Tensor) -> Tensor:
        return (given[:, 0] - 1 - given[:, 1]).relu()

    truths = {
        **made.truths,
        **players(score, inputs, torch.zeros_like(inputs)),
        "integrated_gradients": truth,
    }
    return probe(made.name.removeprefix("probe-"), made.model, inputs, truths)


def _rules(name: str, weights: Sequence[Tensor]) -> Subject:
    """Create a probe for all rules of LRP: no biases, inputs in [0, 1], positive outputs."""
    inputs = rows([0, 1, 0.5], [1, 0.25, 0], [0.75, 1, 0])
    made = _chained(name, weights, inputs)
    form = Chain(
        weights=weights,
        biases=[weight.new_zeros(len(weight)) for weight in weights],
        inputs=inputs,
        baseline=torch.zeros_like(inputs),
        targets=made.targets,
    )
    return probe(name, made.model, inputs, {**made.truths, **relevances(form)})


def _one_layer() -> Subject:
    """A single linear layer, for which each rule is one fraction."""
    return _rules("lrp-layer", [rows([2, 1, -0.5], [-1, 0.5, 3])])


def _two_layers() -> Subject:
    """Two layers, so that the rule of the first layer and that of the others are used."""
    return _rules(
        "lrp-layers",
        [rows([1, -0.5, 2], [-1, 2, 0.5], [0.5, 1.5, -1]), rows([1, 0.75, -0.5])],
    )


NETWORKS = {
    "additive": _additive,
    "minimum": _minimum,
    "saturating": _saturating,
    "and": _both,
    "difference": _difference,
    "symmetric": _symmetric,
    "hidden": _hidden,
    "bias-free": _bias_free,
    "biased": _biased,
    "pair-late": _pair_late,
    "pair-early": _pair_early,
    "lrp-layer": _one_layer,
    "lrp-layers": _two_layers,
}
