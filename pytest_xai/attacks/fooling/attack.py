"""The attack on the maps of one explainer, with or without gradients."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count, require_share
from pytest_xai.attacks.fooling.descent import descend, random_start
from pytest_xai.attacks.fooling.evolution import evolve
from pytest_xai.attacks.fooling.goals import Goal
from pytest_xai.attacks.fooling.ways import find_way
from pytest_xai.attacks.fooling.worst import Ball, Worst
from pytest_xai.bench.bench import Bench
from pytest_xai.protocol import NamedExplainer

__all__ = ["EVERY", "STEPS", "TRIES", "Fooled", "fool"]

STEPS, EVERY = 40, 4
TRIES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Fooled:
    """The worst perturbations that an attack on the maps found.

    Attributes:
        inputs: the worst valid candidates, (n, *shape); the original if no candidate is valid.
        maps: the explainer's maps of these inputs, (n, *shape) or (n, 1, *spatial).
        kept: remaining similarity to the original maps by the goal's measure, float64 (n,); NaN
            where it is not defined.
        moved: true where a valid candidate reduced the similarity, BoolTensor (n,).
        tries: number of candidates per image.
        way: the gradient that the attack used, in words.
        likeness: share of the top values that the differentiated maps have in common with the
            explainer's maps, (n,); NaN for an attack without gradients.
    """

    inputs: Tensor
    maps: Tensor
    kept: Tensor
    moved: Tensor
    tries: int
    way: str
    likeness: Tensor


def fool(
    bench: Bench,
    explainer: NamedExplainer,
    goal: Goal,
    *,
    epsilon: float,
    gradients: bool = True,
    steps: int = STEPS,
) -> Fooled:
    """Search for the perturbation that changes each map most and keeps the prediction.

    Args:
        bench: provides the model and the images.
        explainer: the explainer under attack.
        goal: the goal of the attack.
        epsilon: largest change of a value, as a share of the range of the inputs.
        gradients: use gradients; False: use the attack without gradients.
        steps: number of gradient steps, at least 4; every fourth gives a candidate.

    Raises:
        GuestError: the explainer or the model raised.
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the explainer has stored maps only.
    """
    require_share(epsilon, "epsilon")
    require_count(steps, "steps", least=EVERY)
    bench.require_new_maps(explainer)
    ball = Ball.around(bench, epsilon)
    worst = Worst(bench, explainer, goal, ball)
    whole = worst.kept
    way = find_way(bench, explainer, goal, random_start(bench, ball)) if gradients else None
    if way is None:
        evolve(bench, goal, worst, tries=TRIES)
    else:
        descend(bench, way, goal, worst, steps=steps, every=EVERY)
    return Fooled(
        inputs=worst.inputs,
        maps=worst.maps,
        kept=worst.kept,
        moved=worst.kept < whole,
        tries=worst.tries,
        way="without gradients" if way is None else way.name,
        likeness=torch.full_like(whole, torch.nan) if way is None else way.likeness,
    )
