"""Exact Shapley values of few players and of multilinear polynomials."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

__all__ = ["Monomials", "ablation", "multilinear", "shapley"]

# Coefficients by the indices of the multiplied players.
Monomials = Mapping[tuple[int, ...], float]


def shapley(score: Callable[[Tensor], Tensor], inputs: Tensor, baseline: Tensor) -> Tensor:
    """Return sum_S |S|! (n - |S| - 1)! / n! (f(S + i) - f(S)) for every player i, (N, n).

    Args:
        score: maps (m N, n), m concatenated batches, to (m N,).
        inputs: (N, n), values of present players.
        baseline: (N, n), values of absent players.
    """
    count = inputs.shape[1]
    coalitions = list(itertools.product((False, True), repeat=count))
    given = torch.cat(
        [torch.where(torch.tensor(present), inputs, baseline) for present in coalitions]
    )
    worth = dict(zip(coalitions, score(given).chunk(len(coalitions)), strict=True))
    values = torch.zeros_like(inputs)
    for present in coalitions:
        size = sum(present)
        for player in (place for place in range(count) if not present[place]):
            joined = (*present[:player], True, *present[player + 1 :])
            share = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            values[:, player] += share * (worth[joined] - worth[present])
    return values


def ablation(score: Callable[[Tensor], Tensor], inputs: Tensor, baseline: Tensor) -> Tensor:
    """Return f(x) - f(x with x_i replaced by x'_i) for every player i, (N, n)."""
    whole = score(inputs)
    drops = []
    for player in range(inputs.shape[1]):
        changed = inputs.clone()
        changed[:, player] = baseline[:, player]
        drops.append(whole - score(changed))
    return torch.stack(drops, 1)


def multilinear(monomials: Monomials, inputs: Tensor, baseline: Tensor) -> Tensor:
    """Return Shapley values, equal to Integrated Gradients, of a multilinear polynomial, (N, n).

    With d = x - x', a product of (x'_i + d_i) is a sum of products over subsets. Both methods
    divide a product of differences evenly among its factors.

    Args:
        monomials: coefficients by players; () is the constant.
        inputs: (N, n).
        baseline: (N, n).
    """
    delta = inputs - baseline
    values = torch.zeros_like(inputs)
    for players, coefficient in monomials.items():
        for moved in _subsets(players):
            term = torch.full_like(inputs[:, 0], coefficient)
            for player in players:
                term = term * (delta if player in moved else baseline)[:, player]
            for player in moved:
                values[:, player] += term / len(moved)
    return values


def _subsets(players: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for size in range(1, len(players) + 1):
        yield from itertools.combinations(players, size)
