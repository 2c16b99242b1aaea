"""The last input before the decision boundary, on the straight way to an adversarial input."""

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count
from pytest_xai.attacks.verified import Attacked, make_and_verify
from pytest_xai.bench.bench import Bench

__all__ = ["before_the_boundary"]


def before_the_boundary(bench: Bench, found: Attacked, *, halvings: int = 10) -> Attacked:
    """Where the prediction is still the original one, next to where it is not.

    Of the straight way from an input to its adversarial input, the share at which the prediction
    changes is found by bisection. A way may cross more than one boundary; then one of them is.

    Args:
        bench: whose images.
        found: the result of an attack on them.
        halvings: of the way; what is left is 2**-halvings of it.

    Returns:
        For each image whose prediction the attack changed, the point before the boundary; the
        others are as they were after the attack. `Attacked.flipped` of ``found`` tells which.

    Raises:
        InvalidArgument: an option is not as above.
        GuestError: the model raised.
    """
    require_count(halvings, "halvings")
    name = ("before the boundary", halvings, *found.name)

    def make(chunk: Bench) -> Tensor:
        rows = bench.rows(chunk)
        return _bisected(chunk, found.inputs[rows], found.flipped[rows], halvings)

    return make_and_verify(bench, name, make, norm=found.norm)


def _bisected(chunk: Bench, ends: Tensor, flipped: Tensor, halvings: int) -> Tensor:
    places = flipped.nonzero().flatten()
    result = ends.clone()
    if not len(places):
        return result
    starts, ends = chunk.inputs[places], ends[places]
    held = chunk.predictions()[places]
    column = (-1, *[1] * (starts.ndim - 1))
    share = torch.zeros(len(places), dtype=torch.float64, device=starts.device)
    for halving in range(1, halvings + 1):
        further = share + 0.5**halving
        points = _on_the_way(starts, ends, further.reshape(column))
        share = torch.where(chunk.predictions(points) == held, further, share)
    result[places] = _on_the_way(starts, ends, share.reshape(column))
    return result


def _on_the_way(starts: Tensor, ends: Tensor, share: Tensor) -> Tensor:
    return starts + share.to(starts.dtype) * (ends - starts)
