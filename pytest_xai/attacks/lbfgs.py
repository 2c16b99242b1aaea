"""The attack of Szegedy et al.: the smallest change by L-BFGS within the bounds."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pytest_xai.attacks.arguments import require_count
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim, require_gradient
from pytest_xai.bench.bench import Bench
from pytest_xai.core.optional import require

__all__ = ["lbfgs"]

# Ratio of successive weights, until one weight has succeeded and another one has failed.
_FACTOR = 10.0


def lbfgs(bench: Bench, *, searches: int = 8, iterations: int = 20) -> Attacked:
    """Minimise the L2 norm by L-BFGS (Szegedy et al. 2014, section 4.1).

    Minimises weight * |r|^2 + cross-entropy(f(x + r), t) within the bounds, for the most
    likely other class t, and searches for the largest weight with which the prediction still
    changes. The paper writes c |r|; the square has a gradient at r = 0. Inputs are scaled to
    [0, 1].

    Args:
        bench: provides the model and the images; its targets are the labels.
        searches: number of weights.
        iterations: maximum number of iterations of L-BFGS for each weight.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the model has no gradient with respect to them.
    """
    require_count(searches, "searches")
    require_count(iterations, "iterations")
    require_gradient(bench)

    def attack(victim: Victim) -> Tensor:
        found = victim.inputs.clone()
        logits = victim.logits(found)
        kept = logits.argmax(1) == victim.labels
        for row in kept.nonzero().flatten().tolist():
            objective = _Objective(victim, row, logits[row])
            found[row] = _searched(objective, searches, iterations)
        return found

    name = ("lbfgs", searches, iterations)
    return run_attack(bench, name, attack, norm=2.0)


class _Objective:
    """The objective for one image, a function of its flattened elements scaled to [0, 1]."""

    def __init__(self, victim: Victim, row: int, logits: Tensor) -> None:
        self.victim = victim
        self.image = victim.inputs[row]
        self.label = victim.labels[row : row + 1]
        self.target = logits.scatter(0, self.label, -torch.inf).argmax(0, keepdim=True)
        low = victim.bounds[0]
        scaled = (self.image.double().cpu().flatten() - low) / victim.range
        self.start: npt.NDArray[np.float64] = scaled.clamp(0, 1).numpy()

    def input(self, row: npt.NDArray[np.float64]) -> Tensor:
        low, high = self.victim.bounds
        scaled = torch.from_numpy(row).reshape(1, *self.image.shape)
        return (low + (high - low) * scaled).clamp(low, high).to(self.image)

    def loss(self, weight: float) -> Callable[[npt.NDArray[np.float64]], tuple[float, object]]:
        def value_and_slope(row: npt.NDArray[np.float64]) -> tuple[float, object]:
            inputs = self.input(row).requires_grad_()
            loss = functional.cross_entropy(self.victim.network(inputs), self.target)
            (slope,) = torch.autograd.grad(loss, inputs)
            moved = row - self.start
            steep = slope.flatten().double().cpu().numpy() * self.victim.range
            return float(loss.detach()) + weight * float(moved @ moved), steep + 2 * weight * moved

        return value_and_slope

    def fools(self, row: npt.NDArray[np.float64]) -> bool:
        return bool(self.victim.logits(self.input(row)).argmax(1) != self.label)


def _searched(objective: _Objective, searches: int, iterations: int) -> Tensor:
    """Return the input with the smallest change that succeeds, or the unchanged image."""
    optimize = require("scipy.optimize")
    best, norm = objective.start, float("inf")
    weight, enough, too_much = 1.0, 0.0, np.inf
    for _ in range(searches):
        done = optimize.minimize(
            objective.loss(weight),
            objective.start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * len(objective.start),
            options={"maxiter": iterations},
        )
        if objective.fools(done.x):
            enough, size = weight, float(np.linalg.norm(done.x - objective.start))
            if size < norm:
                best, norm = done.x, size
        else:
            too_much = weight
        weight = _between(enough, too_much)
    return objective.image if norm == np.inf else objective.input(best)[0]


def _between(enough: float, too_much: float) -> float:
    if enough == 0:
        return too_much / _FACTOR
    if too_much == np.inf:
        return enough * _FACTOR
    return float(np.sqrt(enough * too_much))
