"""Probes that are linear layers with a ReLU between each two, on rows of numbers."""

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
    """sum_i g_i(x_i), one ReLU with a bias for each feature."""
    return _chained(
        "additive",
        [rows([1, 0, 0], [0, -2, 0], [0, 0, 1]), rows([2, 1, -3])],
        rows([1, -2, 3], [-1, 0.25, 2], [2, 1, -2]),
        biases=[vector(0.5, 1, -1), vector(0.25)],
        baseline=rows([0, 0, 0], [1, 1, -1], [-2, -1, 2]),
    )


def _minimum() -> Subject:
    """min(x1, x2) = relu(x1) - relu(x1 - x2) of numbers that are not negative."""
    return _chained(
        "minimum",
        [rows([1, 0], [1, -1]), rows([1, -1])],
        rows([5, 3], [2, 4], [3, 1]),
        baseline=rows([0, 0], [0, 0], [1, 2]),
    )


def _saturating() -> Subject:
    """min(1, x1 + x2) = 1 - relu(1 - x1 - x2), OR of two inputs: no gradient where it is 1."""
    return _chained(
        "saturating",
        [rows([-1, -1]), rows([-1])],
        rows([1, 1], [2, 0.5], [1.5, 0], [0.25, 0.5]),
        biases=[vector(1), vector(1)],
    )


def _both() -> Subject:
    """AND of two inputs, relu(x1 + x2 - 1): what the bias absorbs, the gradient does not see."""
    return _chained(
        "and",
        [rows([1, 1]), rows([1])],
        rows([1, 1], [1, 0.5], [0.25, 0.5]),
        biases=[vector(-1), vector(0)],
    )


def _difference() -> Subject:
    """relu(x1 - x2): where it is off, only RevealCancel and coalitions see that x1 counts."""
    return _chained("difference", [rows([1, -1]), rows([1])], rows([3, 1], [1, 3], [2, 0.5]))


def _symmetric() -> Subject:
    """Unchanged by exchanging x1 and x2, which are equal; x3 is on its own."""
    return _chained(
        "symmetric",
        [rows([1, 1, -1], [2, -1, 1], [-1, 2, 1]), rows([1, 0.5, 0.5])],
        rows([1, 1, 0.5], [-2, -2, 1], [0.75, 0.75, 2]),
        biases=[vector(-0.25, 0.5, 0.5), vector(0)],
        baseline=rows([0, 0, 0], [1, 1, -0.5], [-1, -1, 1]),
    )


def _hidden() -> Subject:
    """One hidden layer of two classes with weights of both signs: who rectifies what.

    Units switch at a quarter or half of the way, where a midpoint rule of 4 n nodes is exact.
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
    """Three layers without biases: f is homogeneous, and from 0 all rules give x times gradient."""
    return _deep("bias-free", None, None)


def _biased() -> Subject:
    """Three layers with biases, from elsewhere than 0."""
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
    """relu(x1 - 1 - relu(x2)) of x >= 0, of Sundararajan's pair of equal functions."""
    return _of_pair(_pair("pair-late", vector(0, 0), vector(-1)))


def _pair_early() -> Subject:
    """relu(relu(x1 - 1) - relu(x2)), the same function where x1 >= 1; rules tell them apart."""
    return _of_pair(_pair("pair-early", vector(-1, 0), vector(0)))


def _of_pair(made: Subject) -> Subject:
    """With what methods that depend on the function alone give for both.

    From 0 the way is flat until a = 1 / (x1 - x2), and then as steep as at its end: the share of
    the way on which (1, -1) counts is 1 - a = f(x) / (x1 - x2).
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
    """Without biases, of inputs from 0 to 1: every rule of LRP, from positive outputs."""
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
    """A single linear layer: each rule is one fraction."""
    return _rules("lrp-layer", [rows([2, 1, -0.5], [-1, 0.5, 3])])


def _two_layers() -> Subject:
    """Two layers: a first one with the first layer's rule, one above."""
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
