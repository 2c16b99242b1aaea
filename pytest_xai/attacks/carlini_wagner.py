"""The attack of Carlini and Wagner in the L2 norm, by foolbox."""

from typing import Any

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count
from pytest_xai.attacks.foolbox_adapter import by_foolbox_on_unit_range, foolbox
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim, require_gradient
from pytest_xai.bench.bench import Bench

__all__ = ["carlini_wagner"]

# Step size and first constant, for inputs from 0 to 1. The paper starts with 1e-3 and needs
# thousands of steps.
_STEP = 0.1
_CONSTANT = 1.0


def carlini_wagner(bench: Bench, *, steps: int = 100, searches: int = 6) -> Attacked:
    """Minimise the L2 norm plus a penalty (Carlini and Wagner 2017, section V-B, confidence 0).

    Adam minimises the squared norm plus a constant times the margin; a change of variables by the
    hyperbolic tangent keeps the bounds, and a binary search finds the constant. Inputs are scaled
    to [0, 1], so that the result does not depend on their unit.

    Args:
        bench: provides the model and the images; its targets are the labels.
        steps: steps of Adam for each constant; Adam stops early without progress.
        searches: number of constants.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the model has no gradient with respect to them.
    """
    require_count(steps, "steps")
    require_count(searches, "searches")
    require_gradient(bench)

    def attack(model: Any, inputs: Tensor, victim: Victim) -> Tensor:
        made: Tensor
        _, made, _ = foolbox().attacks.L2CarliniWagnerAttack(
            steps=steps, binary_search_steps=searches, stepsize=_STEP, initial_const=_CONSTANT
        )(model, inputs, victim.labels, epsilons=None)
        # If foolbox finds nothing, it returns an input of zeros.
        nothing = (made == 0).flatten(1).all(1).reshape(-1, *[1] * (made.ndim - 1))
        return torch.where(nothing, inputs, made)

    name = ("carlini_wagner", steps, searches)
    return run_attack(bench, name, by_foolbox_on_unit_range(attack), norm=2.0)
