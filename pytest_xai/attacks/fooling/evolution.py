"""The attack without gradients: an evolution strategy on the explainer's own maps."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from pytest_xai.attacks.fooling.goals import Goal
from pytest_xai.attacks.fooling.worst import Worst
from pytest_xai.bench.bench import Bench

__all__ = ["evolve"]

# Share of the cells whose sign a child changes, from the first to the last.
_CHANGED = (0.3, 0.02)
# Perturbations of large inputs are drawn in so many cells along each axis: a search among
# thousands of signs would not end.
_CELLS = 16


def evolve(bench: Bench, goal: Goal, worst: Worst, *, tries: int) -> None:
    """Search among the corners of the ball for the loss of the goal, one child at a time.

    A (1+1) evolution strategy: a child has the signs of its parent but for some that change, fewer
    as time goes on, and takes its place if it keeps the prediction and has the smaller loss. That
    needs no gradient, of neither the explainer nor the model.

    Args:
        bench: whose images.
        goal: whose loss.
        worst: looks at the candidates, and keeps the worst.
        tries: children, each one map and one forward evaluation per image.

    Raises:
        GuestError: the explainer or the model raised.
    """
    random = bench.generator("fooling", "evolution")
    inputs, ball = bench.inputs, worst.ball
    cells = _cells(inputs)
    parent = 2.0 * torch.randint(2, cells, generator=random) - 1
    best = torch.full((len(bench),), math.inf, device=inputs.device, dtype=torch.float64)
    child = parent
    for number in range(tries):
        counts, loss = worst.offer(
            ball.project(inputs + ball.size * _spread(child, inputs).to(inputs))
        )
        better = counts & (loss < best)
        best = torch.where(better, loss.double(), best)
        # Until one keeps the prediction, every child is the next one's parent.
        follows = (better | best.isinf()).cpu().reshape(-1, *[1] * (parent.ndim - 1))
        parent = torch.where(follows, child, parent)
        first, last = _CHANGED
        changed = torch.rand(cells, generator=random) < first + (last - first) * number / tries
        child = torch.where(changed, -parent, parent)


def _cells(inputs: Tensor) -> tuple[int, ...]:
    """Shape of what is drawn for the inputs: their own, or coarser along the axes of space."""
    if inputs.ndim == 2:
        return tuple(inputs.shape)
    return (*inputs.shape[:2], *(min(side, _CELLS) for side in inputs.shape[2:]))


def _spread(cells: Tensor, inputs: Tensor) -> Tensor:
    """The cells at the size of the inputs."""
    if cells.shape == inputs.shape:
        return cells
    return functional.interpolate(cells, inputs.shape[2:], mode="nearest")
