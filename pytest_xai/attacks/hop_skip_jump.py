"""HopSkipJump: the nearest decision boundary from decisions alone, by foolbox."""

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

# Number of inputs of uniform noise that are tried as starting points.
_NOISE = 8


def hop_skip_jump(bench: Bench, *, steps: int = 10, draws: int = 50) -> Attacked:
    """Minimise the L2 norm from decisions alone (Chen, Jordan and Wainwright 2020, algorithm 2).

    The starting point is the nearest input with another prediction among the other images of the
    batch, the negative of the image, black, white and noise. From there the attack walks along the
    boundary. Inputs are scaled to [0, 1].

    Args:
        bench: provides the model and the images; its targets are the labels.
        steps: number of steps along the boundary.
        draws: evaluations that estimate the direction in the first step; step t has sqrt(t) times
            as many.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the model's decisions are not deterministic.
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
    """Return the nearest starting point per image, and whether there is one, BoolTensor (n,)."""
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

    # The method of foolbox divides by norms over the whole batch, so that probes and steps would
    # shrink with the size of the batch.
    attack.approximate_gradients = estimate
    try:
        _, made, _ = attack(model, inputs, labels, epsilons=None, starting_points=starts)
    except (AssertionError, ValueError) as error:
        if isinstance(error, ValueError) and "starting_points" not in str(error):
            raise
        raise NotApplicable(
            "the model predicts another class when the same input is evaluated again, so it has "
            "no fixed decision boundary"
        ) from error
    walked: Tensor = made
    return walked


def _direction(
    decide: Callable[[Tensor], Tensor], points: Tensor, count: int, delta: Tensor
) -> Tensor:
    """Estimate the unit vector to adversarial decisions, per image (equations 9 and 16)."""
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
    # The mean of the decisions is subtracted, unless all decisions are the same.
    direction = weighted - torch.where(mean.abs() < 1, mean, 0) * total
    norms = direction.flatten(1).norm(dim=1).clamp_min(torch.finfo(points.dtype).tiny)
    unit: Tensor = direction / norms.reshape(column)
    return unit
