"""DeepFool: the nearest decision boundary by linearisation."""

from typing import Literal

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count, require_one_of
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim, require_gradient
from pytest_xai.bench.bench import Bench

__all__ = ["deepfool"]

_OVERSHOOT = 0.02
# Added to every distance, as a share of the range; otherwise steps would vanish on the boundary.
_BEYOND = 1e-4
# Avoids a division by a vanishing gradient.
_TINY = 1e-8


def deepfool(
    bench: Bench, *, norm: Literal["L2", "Linf"] = "L2", steps: int = 50, candidates: int = 10
) -> Attacked:
    """Find the nearest decision boundary (Moosavi-Dezfooli et al. 2016, algorithm 2, section 3.4).

    Each step approximates the boundaries by their tangent planes and moves the input to the nearest
    one; the sum of the steps is multiplied by 1.02. An image stops when its prediction changes.
    Each step costs one forward evaluation and one backward evaluation per other class.

    Args:
        bench: provides the model and the images; its targets are the labels.
        norm: norm of the distance to the boundary.
        steps: maximum number of steps.
        candidates: number of the most likely classes that are considered, including the predicted
            one.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the model has no gradient with respect to them.
    """
    require_one_of(norm, "norm", ("L2", "Linf"))
    require_count(steps, "steps")
    require_count(candidates, "candidates", least=2)
    require_gradient(bench)
    name = ("deepfool", norm, steps, candidates)
    order = 2.0 if norm == "L2" else float("inf")

    def attack(victim: Victim) -> Tensor:
        return _deepfool(victim, order, steps, candidates)

    return run_attack(bench, name, attack, norm=order)


def _deepfool(victim: Victim, order: float, steps: int, candidates: int) -> Tensor:
    low, high = victim.bounds
    found = victim.inputs.clone()
    moved = torch.zeros_like(found)
    going = torch.arange(len(found), device=found.device)
    others = None
    for _ in range(steps):
        inputs, logits = _forward(victim, found[going])
        if others is None:
            others = _likeliest(logits.detach(), victim.labels, candidates - 1)
        staying = logits.argmax(1) == victim.labels[going]
        rest = int(staying.sum())
        if rest == 0:
            break
        # Finished images cost backward passes, unless a new forward pass drops them.
        if (len(going) - rest) * others.shape[1] > rest:
            going, staying = going[staying], staying[staying]
            inputs, logits = _forward(victim, found[going])
        margins = logits.gather(1, others[going]) - logits.gather(1, victim.labels[going, None])
        step = _nearest(inputs, margins, order, _BEYOND * victim.range)[staying]
        going = going[staying]
        moved[going] += step
        there = victim.inputs[going] + (1 + _OVERSHOOT) * moved[going]
        found[going] = there.clamp(low, high)
    return found


def _forward(victim: Victim, inputs: Tensor) -> tuple[Tensor, Tensor]:
    inputs = inputs.detach().requires_grad_()
    return inputs, victim.network(inputs)


def _likeliest(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """Return the most likely classes other than the label, (n, at most count)."""
    order = logits.scatter(1, labels[:, None], torch.inf).argsort(1, descending=True)
    return order[:, 1 : count + 1]


def _nearest(inputs: Tensor, margins: Tensor, order: float, beyond: float) -> Tensor:
    """Return the shortest step to the zero of a linearised margin."""
    column = (-1, *[1] * (inputs.ndim - 1))
    dual = 2.0 if order == 2 else 1.0
    nearest = torch.full_like(margins[:, 0].detach(), torch.inf)
    step = torch.zeros_like(inputs)
    for place in range(margins.shape[1]):
        margin = margins[:, place]
        last = place == margins.shape[1] - 1
        (slope,) = torch.autograd.grad(margin.sum(), inputs, retain_graph=not last)
        steepness = torch.linalg.vector_norm(slope.flatten(1), ord=dual, dim=1)
        distance = margin.detach().abs() / (steepness + _TINY)
        length = (distance + beyond).reshape(column)
        direction = slope / (steepness + _TINY).reshape(column) if order == 2 else slope.sign()
        nearer = distance < nearest
        nearest = torch.where(nearer, distance, nearest)
        step = torch.where(nearer.reshape(column), length * direction, step)
    return step
