"""The last input before the decision boundary, on the straight line to an adversarial input."""

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count
from pytest_xai.attacks.verified import Attacked, make_and_verify
from pytest_xai.bench.bench import Bench

__all__ = ["before_the_boundary"]


def before_the_boundary(bench: Bench, found: Attacked, *, halvings: int = 10) -> Attacked:
    """Find the last input with the original prediction on the line to an adversarial input.

    A bisection finds where the prediction changes on the straight line from an input to its
    adversarial input. If the line crosses several boundaries, the bisection finds one of them.

    Args:
        bench: provides the model and the images.
        found: the result of an attack on these images.
        halvings: steps of the bisection; the error is 2**-halvings of the line.

    Returns:
        The point before the boundary for each image whose prediction the attack changed
        (`Attacked.flipped` of ``found``), and the result of the attack for the other images.

    Raises:
        InvalidArgument: an option is out of its range.
        GuestError: the model raised.
    """
    require_count(halvings, "halvings")
    name = ("before the boundary", halvings, *found.name)

    def make(chunk: Bench) -> Tensor:
        rows = bench.rows(chunk)
        return _bisected(chunk, found.inputs[rows], found.flipped[rows], halvings)

    return make_and_verify(bench, name, make, norm=found.norm)


def _bisected(chunk: Bench, ends: Tensor, flipped: Tensor, halvings: int) -> Tensor:
    rows = flipped.nonzero().flatten()
    result = ends.clone()
    if not len(rows):
        return result
    starts, ends = chunk.inputs[rows], ends[rows]
    held = chunk.predictions()[rows]
    column = (-1, *[1] * (starts.ndim - 1))
    share = torch.zeros(len(rows), dtype=torch.float64, device=starts.device)
    for halving in range(1, halvings + 1):
        further = share + 0.5**halving
        points = _on_the_line(starts, ends, further.reshape(column))
        share = torch.where(chunk.predictions(points) == held, further, share)
    result[rows] = _on_the_line(starts, ends, share.reshape(column))
    return result


def _on_the_line(starts: Tensor, ends: Tensor, share: Tensor) -> Tensor:
    return starts + share.to(starts.dtype) * (ends - starts)
