"""Checks that the iterated gradient sign changes the map no more than noise of equal size."""

from pytest_xai.attacks import ifgsm
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._dice import (
    CLAIM,
    EPSILON,
    FIGURE,
    LIMIT_SOURCE,
    dice_under_attack,
)
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="adversarial",
    question="Does the map keep its most important pixels under the iterated gradient sign attack?",
    claim=CLAIM,
    source="galli2021",
    scope="quality",
    direction=">=",
    judged="paired",
    figure=FIGURE,
    limit_source=LIMIT_SOURCE,
    cost=Cost(forward=15, backward=10, explainer_calls=5),
    marks=("slow",),
)
def ifgsm_dice(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: Dice of the top 10 % before and after, while the prediction is the same."""
    return dice_under_attack(bench, explainer, ifgsm(bench, epsilon=EPSILON))
