"""Checks that DeepFool (maximum norm) changes the map no more than noise of equal size."""

from pytest_xai.attacks import deepfool
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._dice import CLAIM, FIGURE, LIMIT_SOURCE, dice_under_attack
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="adversarial",
    question="Does the map keep its most important pixels under DeepFool in the maximum norm?",
    claim=CLAIM,
    source="galli2021",
    scope="quality",
    direction=">=",
    judged="paired",
    figure=FIGURE,
    limit_source=LIMIT_SOURCE,
    cost=Cost(forward=5, backward=9, explainer_calls=5),
    marks=("slow",),
)
def deepfool_linf_dice(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: Dice of the top 10 % before and just before the prediction changes."""
    return dice_under_attack(bench, explainer, deepfool(bench, norm="Linf"), protocol="boundary")
