"""The smallest change that a penalty on it and on the margin agree on, by foolbox."""

from typing import Any

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count
from pytest_xai.attacks.foolbox_adapter import by_foolbox_on_unit_range, foolbox
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim, require_gradient
from pytest_xai.bench.bench import Bench

__all__ = ["carlini_wagner"]

# Of the step and of the first constant, for inputs from 0 to 1; the paper begins at 1e-3 and takes
# thousands of steps.
_STEP = 0.1
_CONSTANT = 1.0


def carlini_wagner(bench: Bench, *, steps: int = 100, searches: int = 6) -> Attacked:
    """The smallest L2 norm by penalty (Carlini and Wagner 2017, section V-B, confidence 0).

    Adam minimises the squared norm plus a constant times the margin, in variables whose hyperbolic
    tangent keeps the bounds; the constant is searched. Inputs are scaled to 0 to 1 for it, so
    that the result does not depend on their unit.

    Args:
        bench: whose images; targets are the labels.
        steps: of Adam, for each constant; fewer where there is no progress.
        searches: constants that are tried.

    Raises:
        InvalidArgument: an option is not as above.
        NotApplicable: the inputs have no range, or the model has no gradient.
    """
    require_count(steps, "steps")
    require_count(searches, "searches")
    require_gradient(bench)

    def attack(model: Any, inputs: Tensor, victim: Victim) -> Tensor:
        made: Tensor
        _, made, _ = foolbox().attacks.L2CarliniWagnerAttack(
            steps=steps, binary_search_steps=searches, stepsize=_STEP, initial_const=_CONSTANT
        )(model, inputs, victim.labels, epsilons=None)
        # Where it finds nothing, foolbox returns an input of zeros.
        nothing = (made == 0).flatten(1).all(1).reshape(-1, *[1] * (made.ndim - 1))
        return torch.where(nothing, inputs, made)

    name = ("carlini_wagner", steps, searches)
    return run_attack(bench, name, by_foolbox_on_unit_range(attack), norm=2.0)
