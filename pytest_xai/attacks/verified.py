"""What of an attack's result counts: looked at with our own eyes, its success flag is never asked.

An adversarial set is made once per subject, chunk by chunk, and so is the look at it.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.attacks.victim import Attack, carry_out
from pytest_xai.bench.bench import Bench

__all__ = ["Attacked", "make_and_verify", "run_attack", "slack_of", "within"]

# Bounds and budgets are kept to this share of the range, and to the rounding of the inputs.
_SLACK = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class Attacked:
    """Inputs before and after an attack, predicted again.

    Attributes:
        name: of the attack with all its options; what is made of its result is shared under it.
        norm: the norm of ``size``: 0 (elements changed), 2 or infinity.
        inputs: after the attack, (n, *shape).
        predicted: the class predicted for them, LongTensor (n,).
        correct: the original input was predicted as its target; BoolTensor (n,).
        flipped: the prediction changed; BoolTensor (n,).
        within: bounds and budget are kept; BoolTensor (n,).
        size: norm of the perturbation, (n,).
    """

    name: tuple[Hashable, ...]
    norm: float
    inputs: Tensor
    predicted: Tensor
    correct: Tensor
    flipped: Tensor
    within: Tensor
    size: Tensor


def make_and_verify(
    bench: Bench,
    name: tuple[Hashable, ...],
    make: Callable[[Bench], Tensor],
    *,
    norm: float,
    budget: float | None = None,
) -> Attacked:
    """Make adversarial inputs, once for all checks, and look at them: predictions, bounds, budget.

    Args:
        bench: whose images.
        name: of the attack with all its options: the same name, the same inputs.
        make: maps a view of one chunk to its inputs after the attack; what is NaN or infinite is
            replaced by the originals and does not count.
        norm: in which the perturbation is measured: 0, 2 or infinity.
        budget: the largest norm allowed, in units of the inputs; None: it has none.

    Raises:
        GuestError: the model raised.
        NotApplicable: the inputs have no range.
    """
    made = bench.share(("attack", *name), make)
    predicted = bench.share(
        ("attack predicted", *name),
        lambda chunk: chunk.predictions(_finite(chunk, chunk.share(("attack", *name), make))),
    )
    before = bench.predictions()
    inputs = _finite(bench, made)
    delta = (inputs - bench.inputs).flatten(1).double()
    size = torch.linalg.vector_norm(delta, ord=norm, dim=1)
    inside = within(made, bench.bounds, slack_of(bench.bounds, bench.inputs.dtype))
    return Attacked(
        name=name,
        norm=norm,
        inputs=inputs,
        predicted=predicted,
        correct=torch.ones_like(before).bool() if bench.classes == 1 else before == bench.targets,
        flipped=predicted != before,
        within=inside & _affordable(bench, size, norm, budget),
        size=size,
    )


def run_attack(
    bench: Bench,
    name: tuple[Hashable, ...],
    attack: Attack,
    *,
    norm: float,
    budget: float | None = None,
) -> Attacked:
    """Carry out an attack, whose seeds follow from its name, and look at what it made.

    Args:
        bench: whose images.
        name: as for `make_and_verify`.
        attack: what to carry out.
        norm: as for `make_and_verify`.
        budget: as for `make_and_verify`.

    Raises:
        GuestError: the model raised.
        NotApplicable: the inputs have no range.
    """
    return make_and_verify(
        bench, name, lambda chunk: carry_out(chunk, name, attack), norm=norm, budget=budget
    )


def slack_of(bounds: tuple[float, float], dtype: torch.dtype) -> float:
    """By how much bounds and budgets may be missed for inputs of a dtype, in their units."""
    low, high = bounds
    return _SLACK * (high - low) + torch.finfo(dtype).eps * max(abs(low), abs(high))


def within(inputs: Tensor, bounds: tuple[float, float], slack: float) -> Tensor:
    """Whether all values are within the bounds, but for the slack, BoolTensor (n,).

    Args:
        inputs: (n, *shape).
        bounds: (low, high).
        slack: of `slack_of`.
    """
    low, high = bounds
    # Written so that a comparison with NaN is a breach.
    return ((inputs >= low - slack) & (inputs <= high + slack)).flatten(1).all(1)


def _finite(bench: Bench, made: Tensor) -> Tensor:
    finite = made.flatten(1).isfinite().all(1)
    return torch.where(finite.reshape(-1, *[1] * (made.ndim - 1)), made, bench.inputs)


def _affordable(bench: Bench, size: Tensor, norm: float, budget: float | None) -> Tensor:
    if budget is None:
        return torch.ones_like(size).bool()
    # Every element is rounded; in the L0 norm, which counts them, that makes no difference.
    share = {0.0: 0.0, 2.0: bench.inputs[0].numel() ** 0.5}.get(norm, 1.0)
    affordable: Tensor = size <= budget + share * slack_of(bench.bounds, bench.inputs.dtype)
    return affordable
