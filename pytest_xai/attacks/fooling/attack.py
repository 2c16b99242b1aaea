"""One attack on the maps of one explainer, by whatever way there is to them."""

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
        inputs: the worst of the candidates that count, (n, *shape); the original where none does.
        maps: the explainer's own there, (n, *shape) or (n, 1, *spatial).
        kept: what is left of the maps by the goal's measure, float64 (n,); NaN: not defined.
        moved: whether a candidate counts that leaves less than all, BoolTensor (n,).
        tries: candidates that were looked at, for each image.
        way: how the attack got at the maps, in words.
        likeness: share of the top values that the maps attacked through have in common with the
            explainer's own, (n,); NaN without such.
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
    """Look for the perturbation that leaves least of each map and keeps the prediction.

    Args:
        bench: whose images.
        explainer: whose maps.
        goal: what is to become of them.
        epsilon: largest change of a value, as a share of the range of the inputs.
        gradients: False: do without.
        steps: of the attack by gradients, of which every fourth is looked at; at least 4.

    Raises:
        GuestError: the explainer or the model raised.
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the maps are stored and no others can be made.
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
