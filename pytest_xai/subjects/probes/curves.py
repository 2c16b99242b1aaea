"""Nonlinear probes: products, games, powers, maxima."""

import torch
from torch import Tensor

from pytest_xai.core.subject import Subject
from pytest_xai.subjects.probes.functions import Polynomial, Powers, largest
from pytest_xai.subjects.probes.games import Monomials, multilinear
from pytest_xai.subjects.probes.points import probe, rows
from pytest_xai.subjects.probes.truths import of_gradient, players

__all__ = ["CURVES"]


def _multilinear(
    name: str, monomials: Monomials, inputs: Tensor, baseline: Tensor, gradient: Tensor
) -> Subject:
    """Create a multilinear probe, for which Integrated Gradients and Shapley values agree."""
    model = Polynomial(monomials)
    values = multilinear(monomials, inputs, baseline)
    truths = {
        **of_gradient(gradient, inputs),
        **players(lambda given: model(given).squeeze(1), inputs, baseline),
        "integrated_gradients": values,
    }
    return probe(name, model, inputs, truths, baseline=baseline)


def _product() -> Subject:
    """x1 x2, with zero and other baselines."""
    inputs = rows([2, 3], [2, 3], [-1, 0.5], [1.5, -2])
    baseline = rows([0, 0], [1, -1], [0, 0], [-0.5, 1])
    return _multilinear("product", {(0, 1): 1.0}, inputs, baseline, inputs.flip(1))


def _game() -> Subject:
    """x1 x2 + 2 x3 - x1 x3 x4, a game of four players, of which x4 only has negative effects."""
    inputs = rows([1, 2, 3, 0.5], [2, -1, 0.5, 3], [1, 2, 3, 0.5])
    baseline = rows([0, 0, 0, 0], [0, 0, 0, 0], [0.5, -1, 1, 2])
    a, b, c, d = inputs.unbind(1)
    gradient = torch.stack([b - c * d, a, 2 - a * d, -a * c], 1)
    monomials = {(0, 1): 1.0, (2,): 2.0, (0, 2, 3): -1.0}
    return _multilinear("game", monomials, inputs, baseline, gradient)


def _powers(name: str, exponents: tuple[int, ...], inputs: Tensor) -> Subject:
    """Create a product of powers with baseline 0.

    Integrated Gradients divides it in proportion to the exponents, Shapley values evenly.
    """
    powers = torch.tensor(exponents, dtype=inputs.dtype)
    whole = (inputs**powers).prod(1, keepdim=True)
    truths = {
        **of_gradient(powers * whole / inputs, inputs),
        **players(lambda given: (given**powers).prod(1), inputs, torch.zeros_like(inputs)),
        "integrated_gradients": powers / powers.sum() * whole,
    }
    return probe(name, Powers(exponents), inputs, truths)


def _square() -> Subject:
    """x1^2 x2, for which Integrated Gradients and Shapley values differ."""
    return _powers("square", (2, 1), rows([2, 3], [-1.5, 2], [0.5, -4]))


def _quintic() -> Subject:
    """x1^5 x2^2 x3, which needs four Gauss-Legendre nodes; three are too few."""
    return _powers("quintic", (5, 2, 1), rows([1.5, -1, 2], [-1, 0.5, 3], [0.5, 2, -1]))


def _maximum() -> Subject:
    """The larger of two numbers; on the straight path each has an effect where it is larger."""
    inputs = rows([5, 3], [2, 4], [5, 3], [-1, 2])
    baseline = rows([0, 0], [0, 0], [1, 4], [3, -2])
    delta, lead = inputs - baseline, inputs[:, 0] - inputs[:, 1]
    before = baseline[:, 0] - baseline[:, 1]
    # The share of the path on which the first number is larger.
    first = torch.where(
        before == lead,
        (lead > 0).to(lead),
        (lead.relu() - before.relu()) / (lead - before),
    )
    larger = (lead > 0).to(lead)
    truths = {
        **of_gradient(torch.stack([larger, 1 - larger], 1), inputs),
        **players(lambda given: given.amax(1), inputs, baseline),
        "integrated_gradients": delta * torch.stack([first, 1 - first], 1),
    }
    return probe("maximum", largest(2), inputs, truths, baseline=baseline)


def _largest() -> Subject:
    """The largest of three non-negative numbers; it is largest on the whole path from 0."""
    inputs = rows([5, 3, 1], [0.5, 1, 4], [1, 2.5, 2])
    wins = (inputs == inputs.amax(1, keepdim=True)).to(inputs)
    truths = {
        **of_gradient(wins, inputs),
        **players(lambda given: given.amax(1), inputs, torch.zeros_like(inputs)),
        **dict.fromkeys(("integrated_gradients", "deep_lift_rescale", "lrp_zero"), wins * inputs),
        **dict.fromkeys(("guided_backprop", "deconvolution"), wins),
    }
    return probe("largest", largest(3), inputs, truths)


CURVES = {
    "product": _product,
    "game": _game,
    "square": _square,
    "quintic": _quintic,
    "maximum": _maximum,
    "largest": _largest,
}
