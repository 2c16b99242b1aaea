"""The attack without gradients: an evolution strategy on the explainer's maps."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from pytest_xai.attacks.fooling.goals import Goal
from pytest_xai.attacks.fooling.worst import Worst
from pytest_xai.bench.bench import Bench

__all__ = ["evolve"]

# Share of the cells whose sign is changed in the first and in the last child.
_CHANGED = (0.3, 0.02)
# Perturbations of large inputs have this many cells along each axis, because a search among
# thousands of signs would take too long.
_CELLS = 16


def evolve(bench: Bench, goal: Goal, worst: Worst, *, tries: int) -> None:
    """Minimise the goal's loss over the corners of the ball by a (1+1) evolution strategy.

    A child is its parent with some signs flipped, fewer and fewer over time. It replaces the parent
    if it keeps the prediction and has a smaller loss. Neither the explainer nor the model needs a
    gradient.

    Args:
        bench: provides the model and the images.
        goal: provides the loss.
        worst: evaluates the candidates and keeps the worst.
        tries: number of children; each costs one map and one forward evaluation per image.

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
        # Until a child keeps the prediction, every child becomes the next parent.
        follows = (better | best.isinf()).cpu().reshape(-1, *[1] * (parent.ndim - 1))
        parent = torch.where(follows, child, parent)
        first, last = _CHANGED
        changed = torch.rand(cells, generator=random) < first + (last - first) * number / tries
        child = torch.where(changed, -parent, parent)


def _cells(inputs: Tensor) -> tuple[int, ...]:
    """Return the shape of the drawn signs: the inputs', or a coarser one along spatial axes."""
    if inputs.ndim == 2:
        return tuple(inputs.shape)
    return (*inputs.shape[:2], *(min(side, _CELLS) for side in inputs.shape[2:]))


def _spread(cells: Tensor, inputs: Tensor) -> Tensor:
    """Enlarge the cells to the size of the inputs."""
    if cells.shape == inputs.shape:
        return cells
    return functional.interpolate(cells, inputs.shape[2:], mode="nearest")
