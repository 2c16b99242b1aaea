"""Attacks with a budget that follow the gradient of the loss, by foolbox."""

from typing import Literal

from pytest_xai.attacks.arguments import require_count, require_one_of, require_share
from pytest_xai.attacks.foolbox_adapter import by_foolbox
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import require_gradient
from pytest_xai.bench.bench import Bench

__all__ = ["fgsm", "ifgsm", "pgd"]


def fgsm(bench: Bench, *, epsilon: float) -> Attacked:
    """One step along the sign of the gradient of the loss (Goodfellow et al. 2015, section 4).

    Args:
        bench: whose images; targets are the labels.
        epsilon: size of the step in the maximum norm, as a share of the range of the inputs.

    Raises:
        InvalidArgument: an option is not as above.
        NotApplicable: the inputs have no range, or the model has no gradient.
    """
    require_share(epsilon, "epsilon")
    require_gradient(bench)
    name, budget = ("fgsm", epsilon), epsilon * _range(bench)
    attack = by_foolbox(lambda fb: fb.attacks.LinfFastGradientAttack(), budget)
    return run_attack(bench, name, attack, norm=float("inf"), budget=budget)


def ifgsm(bench: Bench, *, epsilon: float, steps: int = 10) -> Attacked:
    """Steps along the sign of the gradient, kept in the ball (Kurakin et al. 2017, equation 2).

    Each step is 2 / ``steps`` of the ball's radius, so that there and back is within reach.

    Args:
        bench: whose images; targets are the labels.
        epsilon: radius of the ball in the maximum norm, as a share of the range of the inputs.
        steps: how many.

    Raises:
        InvalidArgument: an option is not as above.
        NotApplicable: the inputs have no range, or the model has no gradient.
    """
    require_share(epsilon, "epsilon")
    require_count(steps, "steps")
    require_gradient(bench)
    name, budget = ("ifgsm", epsilon, steps), epsilon * _range(bench)
    attack = by_foolbox(
        lambda fb: fb.attacks.LinfBasicIterativeAttack(rel_stepsize=2 / steps, steps=steps), budget
    )
    return run_attack(bench, name, attack, norm=float("inf"), budget=budget)


def pgd(
    bench: Bench, *, epsilon: float, norm: Literal["Linf", "L2"] = "Linf", steps: int = 20
) -> Attacked:
    """Projected gradient ascent from a random start in the ball (Madry et al. 2018, section 2.1).

    Each step is 2.5 / ``steps`` of the ball's radius, which reaches its border from any start.

    Args:
        bench: whose images; targets are the labels.
        epsilon: radius of the ball as a share of the largest distance that there is: of the range
            of the inputs in the maximum norm, of the range times the square root of the number
            of elements in the L2 norm.
        norm: of the ball.
        steps: how many.

    Raises:
        InvalidArgument: an option is not as above.
        NotApplicable: the inputs have no range, or the model has no gradient.
    """
    require_share(epsilon, "epsilon")
    require_one_of(norm, "norm", ("Linf", "L2"))
    require_count(steps, "steps")
    require_gradient(bench)
    name, budget = ("pgd", epsilon, norm, steps), epsilon * _range(bench)
    if norm == "L2":
        budget *= bench.inputs[0].numel() ** 0.5
    kind = f"{norm}ProjectedGradientDescentAttack"
    attack = by_foolbox(
        lambda fb: getattr(fb.attacks, kind)(rel_stepsize=2.5 / steps, steps=steps), budget
    )
    order = 2.0 if norm == "L2" else float("inf")
    return run_attack(bench, name, attack, norm=order, budget=budget)


def _range(bench: Bench) -> float:
    low, high = bench.bounds
    return high - low
