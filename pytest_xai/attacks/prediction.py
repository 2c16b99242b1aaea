"""Attacks that follow the gradient of the loss within a budget (FGSM, I-FGSM, PGD), by foolbox."""

from typing import Literal

from pytest_xai.attacks.arguments import require_count, require_one_of, require_share
from pytest_xai.attacks.foolbox_adapter import by_foolbox
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import require_gradient
from pytest_xai.bench.bench import Bench

__all__ = ["fgsm", "ifgsm", "pgd"]


def fgsm(bench: Bench, *, epsilon: float) -> Attacked:
    """Attack by one step along the gradient's sign (Goodfellow et al. 2015, section 4).

    Args:
        bench: provides the model and the images; its targets are the labels.
        epsilon: size of the step in the maximum norm, as a share of the range of the inputs.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the model has no gradient with respect to them.
    """
    require_share(epsilon, "epsilon")
    require_gradient(bench)
    name, budget = ("fgsm", epsilon), epsilon * _range(bench)
    attack = by_foolbox(lambda fb: fb.attacks.LinfFastGradientAttack(), budget)
    return run_attack(bench, name, attack, norm=float("inf"), budget=budget)


def ifgsm(bench: Bench, *, epsilon: float, steps: int = 10) -> Attacked:
    """Attack by steps along the gradient's sign (Kurakin et al. 2017, equation 2).

    The size of a step is 2 / ``steps`` of the ball's radius, so that the steps can cross the ball.

    Args:
        bench: provides the model and the images; its targets are the labels.
        epsilon: radius of the ball in the maximum norm, as a share of the range of the inputs.
        steps: number of steps.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the model has no gradient with respect to them.
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
    """Attack by projected gradient ascent from a random start (Madry et al. 2018, section 2.1).

    The size of a step is 2.5 / ``steps`` of the ball's radius, so that the steps can reach the
    border of the ball from any start.

    Args:
        bench: provides the model and the images; its targets are the labels.
        epsilon: radius of the ball as a share of the largest possible distance. This is the range
            of the inputs in the maximum norm, and the range times the square root of the number
            of elements in the L2 norm.
        norm: norm of the ball.
        steps: number of steps.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the model has no gradient with respect to them.
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
