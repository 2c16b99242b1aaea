"""Verification of the results of attacks: predictions, bounds and sizes are measured again.

What an attack reports about its own success is ignored. An adversarial set is made and verified
once per subject, chunk by chunk.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.attacks.victim import Attack, carry_out
from pytest_xai.bench.bench import Bench

__all__ = ["Attacked", "make_and_verify", "run_attack", "slack_of", "within"]

# Tolerance for bounds and budgets, as a share of the range; rounding of the inputs is added.
_SLACK = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class Attacked:
    """The verified result of an attack.

    Attributes:
        name: name and all options of the attack; results are shared under this name.
        norm: the norm of ``size``: 0 (number of changed elements), 2 or infinity.
        inputs: inputs after the attack, (n, *shape).
        predicted: predicted classes after the attack, LongTensor (n,).
        correct: true where the original input is predicted as its target, BoolTensor (n,).
        flipped: true where the prediction changed, BoolTensor (n,).
        within: true where bounds and budget are kept, BoolTensor (n,).
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
    """Make adversarial inputs, once for all checks, and verify predictions, bounds and budget.

    Args:
        bench: provides the model and the images.
        name: name and all options of the attack; the same name gets the same inputs.
        make: maps a view of one chunk to its inputs after the attack. An input with NaN or
            infinite values is replaced by the original and counts as a failed attack.
        norm: norm of the perturbation: 0, 2 or infinity.
        budget: largest norm allowed, in units of the inputs; None: no budget.

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
    """Run an attack with seeds that depend on its name, and verify its result.

    Args:
        bench: provides the model and the images.
        name: as for `make_and_verify`.
        attack: the attack.
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
    """Return the tolerance for bounds and budgets for inputs of a dtype, in their units."""
    low, high = bounds
    return _SLACK * (high - low) + torch.finfo(dtype).eps * max(abs(low), abs(high))


def within(inputs: Tensor, bounds: tuple[float, float], slack: float) -> Tensor:
    """Return where all values are within the bounds up to a tolerance, BoolTensor (n,).

    Args:
        inputs: (n, *shape).
        bounds: (low, high).
        slack: the tolerance, see `slack_of`.
    """
    low, high = bounds
    # In this form, NaN counts as a violation.
    return ((inputs >= low - slack) & (inputs <= high + slack)).flatten(1).all(1)


def _finite(bench: Bench, made: Tensor) -> Tensor:
    finite = made.flatten(1).isfinite().all(1)
    return torch.where(finite.reshape(-1, *[1] * (made.ndim - 1)), made, bench.inputs)


def _affordable(bench: Bench, size: Tensor, norm: float, budget: float | None) -> Tensor:
    if budget is None:
        return torch.ones_like(size).bool()
    # Rounding affects every element; the L0 norm, which counts elements, is not affected.
    share = {0.0: 0.0, 2.0: bench.inputs[0].numel() ** 0.5}.get(norm, 1.0)
    affordable: Tensor = size <= budget + share * slack_of(bench.bounds, bench.inputs.dtype)
    return affordable
