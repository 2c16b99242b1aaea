"""Rules of layer-wise relevance propagation on chains without biases.

Each rule divides the relevance R_k of the upper neurons among the lower neurons. A neuron whose
denominator is 0 passes on nothing. Sources: Bach 2015 (epsilon, alpha-beta), Montavon
2017 (w-squared, z-box), Montavon 2019 (gamma), Lapuschkin 2019 (flat).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pytest_xai.subjects.probes.chains import Chain

__all__ = ["EPSILON", "GAMMA", "relevances"]

# (activations (N, in), weight (out, in), relevance (N, out)) -> relevance (N, in)
Rule = Callable[[Tensor, Tensor, Tensor], Tensor]

# Parameters of the rules for which the truths are valid.
EPSILON, GAMMA = 1e-6, 0.25


def relevances(chain: Chain) -> dict[str, Tensor]:
    """Return the correct maps by rule, (N, features) each.

    Args:
        chain: a chain without biases and with positive outputs. Every input has values in [0, 1],
            including 0 and 1, so that the box of an image equals the box of the subject. Weights
            are 0 only where a convolution has no connection.
    """
    plus = partial(_alpha_beta, alpha=1.0)
    rules: dict[str, tuple[Rule, Rule]] = {
        "lrp_epsilon": (_epsilon, _epsilon),
        "lrp_gamma": (_gamma, _gamma),
        "lrp_z_plus": (plus, plus),
        "lrp_alpha2_beta1": (partial(_alpha_beta, alpha=2.0), partial(_alpha_beta, alpha=2.0)),
        "lrp_w_square": (_w_square, plus),
        "lrp_flat": (_flat, plus),
        "lrp_z_box": (_z_box, plus),
        "deep_taylor": (_z_box, plus),
    }
    found = {name: _propagated(chain, *pair) for name, pair in rules.items()}
    outputs = chain.sums(chain.inputs)[-1].gather(1, chain.targets[:, None])
    # The same shares of a total of 1 instead of the output.
    found["excitation_backprop"] = found["lrp_z_plus"] / outputs
    return found


def _propagated(chain: Chain, first: Rule, others: Rule) -> Tensor:
    sums = chain.sums(chain.inputs)
    relevance = torch.zeros_like(sums[-1])
    relevance.scatter_(1, chain.targets[:, None], sums[-1].gather(1, chain.targets[:, None]))
    for layer in range(len(sums) - 1, -1, -1):
        below = sums[layer - 1].relu() if layer else chain.inputs
        relevance = (others if layer else first)(below, chain.weights[layer], relevance)
    return relevance


def _shared(shares: Tensor, denominators: Tensor, relevance: Tensor) -> Tensor:
    """Return sum_k shares_kj / denominator_k R_k for shares (N or 1, out, in), (N, in)."""
    given = torch.where(
        denominators != 0, relevance / torch.where(denominators != 0, denominators, 1), 0
    )
    return (shares * given[:, :, None]).sum(1)


def _epsilon(below: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    summands = below[:, None, :] * weight
    sums = summands.sum(2)
    return _shared(summands, sums + EPSILON * torch.where(sums < 0, -1.0, 1.0), relevance)


def _gamma(below: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    summands = below[:, None, :] * (weight + GAMMA * weight.clamp(min=0))
    return _shared(summands, summands.sum(2), relevance)


def _alpha_beta(below: Tensor, weight: Tensor, relevance: Tensor, *, alpha: float) -> Tensor:
    summands = below[:, None, :] * weight
    positive, negative = summands.clamp(min=0), summands.clamp(max=0)
    first = _shared(positive, positive.sum(2), relevance)
    return alpha * first - (alpha - 1) * _shared(negative, negative.sum(2), relevance)


def _w_square(_: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    squares = weight.square()[None]
    return _shared(squares, squares.sum(2).expand_as(relevance), relevance)


def _flat(_: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    # The matrix of a convolution has zeros where there is no connection.
    ones = (weight != 0).to(weight)[None]
    return _shared(ones, ones.sum(2).expand_as(relevance), relevance)


def _z_box(below: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    # The box is [0, 1]: x w - 0 w+ - 1 w-.
    summands = below[:, None, :] * weight - weight.clamp(max=0)
    return _shared(summands, summands.sum(2), relevance)
