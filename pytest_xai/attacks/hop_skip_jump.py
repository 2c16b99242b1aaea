"""The nearest decision boundary for who sees nothing but decisions, by foolbox."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count
from pytest_xai.attacks.foolbox_adapter import by_foolbox_on_unit_range, foolbox
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim
from pytest_xai.bench.bench import Bench
from pytest_xai.core.optional import require
from pytest_xai.errors import NotApplicable

__all__ = ["hop_skip_jump"]

# Inputs of uniform noise that are tried as places to start from.
_NOISE = 8


def hop_skip_jump(bench: Bench, *, steps: int = 10, draws: int = 50) -> Attacked:
    """The smallest L2 norm from decisions alone (Chen, Jordan and Wainwright 2020, algorithm 2).

    It starts from the nearest input that is predicted otherwise, of the others of the batch, the
    image's own negative, black, white and some noise, and walks along the boundary. Inputs are
    scaled to 0 to 1 for it.

    Args:
        bench: whose images; targets are the labels.
        steps: along the boundary.
        draws: that estimate its direction in the first step; in step t, sqrt(t) times as many.

    Raises:
        InvalidArgument: an option is not as above.
        NotApplicable: the inputs have no range, or the model decides otherwise when asked again.
    """
    require_count(steps, "steps")
    require_count(draws, "draws")

    def attack(model: Any, inputs: Tensor, victim: Victim) -> Tensor:
        starts, found = _starts(model, inputs, victim)
        made = inputs.clone()
        if found.any():
            made[found] = _walked(
                model, inputs[found], victim.labels[found], starts[found], steps, draws
            )
        return made

    name = ("hop_skip_jump", steps, draws)
    return run_attack(bench, name, by_foolbox_on_unit_range(attack), norm=2.0)


def _starts(model: Any, inputs: Tensor, victim: Victim) -> tuple[Tensor, Tensor]:
    """The nearest input from which to start, per image, and whether there is one."""
    starts = inputs.clone()
    nearest = torch.full((len(inputs),), torch.inf, device=inputs.device)

    def offer(points: Tensor, classes: Tensor) -> None:
        wrong = classes != victim.labels
        distance = (points - inputs).flatten(1).norm(dim=1).to(nearest.dtype)
        better = wrong & (distance < nearest)
        nearest[better], starts[better] = distance[better], points[better]

    for points in (1 - inputs, torch.zeros_like(inputs), torch.ones_like(inputs)):
        offer(points, model(points).argmax(1))
    for _ in range(_NOISE):
        noise = [torch.rand(inputs.shape[1:], generator=each) for each in victim.generators]
        points = torch.stack(noise).to(inputs)
        offer(points, model(points).argmax(1))
    classes = model(inputs).argmax(1)
    for shift in range(1, len(inputs)):
        offer(inputs.roll(shift, 0), classes.roll(shift))
    return starts, nearest < torch.inf


def _walked(
    model: Any, inputs: Tensor, labels: Tensor, starts: Tensor, steps: int, draws: int
) -> Tensor:
    attack = foolbox().attacks.HopSkipJumpAttack(steps=steps, initial_gradient_eval_steps=draws)
    eagerpy = require("eagerpy")

    def estimate(is_adversarial: Any, points: Any, count: int, delta: Any) -> Any:
        def decide(changed: Tensor) -> Tensor:
            decisions: Tensor = is_adversarial(eagerpy.astensor(changed)).raw
            return decisions

        return eagerpy.astensor(_direction(decide, points.raw, count, delta.raw))

    # foolbox's own divides by norms over the whole batch, so that probes and steps shrink as
    # batches grow.
    attack.approximate_gradients = estimate
    try:
        _, made, _ = attack(model, inputs, labels, epsilons=None, starting_points=starts)
    except (AssertionError, ValueError) as error:
        if isinstance(error, ValueError) and "starting_points" not in str(error):
            raise
        raise NotApplicable(
            "the model decides otherwise when it is asked again: there is no boundary to walk along"
        ) from error
    walked: Tensor = made
    return walked


def _direction(
    decide: Callable[[Tensor], Tensor], points: Tensor, count: int, delta: Tensor
) -> Tensor:
    """The unit vector in which decisions turn adversarial, per image (equations 9 and 16)."""
    column = (-1, *[1] * (points.ndim - 1))
    delta = delta.reshape(column)
    total, weighted = torch.zeros_like(points), torch.zeros_like(points)
    signs = torch.zeros_like(delta)
    for _ in range(count):
        drawn = torch.randn(points.shape, dtype=points.dtype).to(points.device)
        drawn = drawn / drawn.flatten(1).norm(dim=1).reshape(column)
        changed = (points + delta * drawn).clamp(0, 1)
        sign = 2 * decide(changed).to(points).reshape(column) - 1
        probe = (changed - points) / delta.clamp_min(torch.finfo(points.dtype).tiny)
        total, weighted, signs = total + probe, weighted + sign * probe, signs + sign
    mean = signs / count
    # The mean of the decisions is taken away, unless all of them were alike.
    direction = weighted - torch.where(mean.abs() < 1, mean, 0) * total
    norms = direction.flatten(1).norm(dim=1).clamp_min(torch.finfo(points.dtype).tiny)
    unit: Tensor = direction / norms.reshape(column)
    return unit
