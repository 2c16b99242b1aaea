"""Checks that an attack cannot turn the map into that of another image."""

from pytest_xai.attacks.fooling import target_map
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._map_fooling import kept_under_attack
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="adversarial",
    question="Does the map resist an attack that tries to turn it into another image's map?",
    claim="For most images, the worst map found with the same prediction keeps more than half of "
    "the distance to another image's map that it keeps under noise of the same size.",
    source="dombrowski2019",
    scope="quality",
    direction=">=",
    judged="paired",
    figure="share of the map's mass that differs from the map of the other image",
    limit_source="Half of the smallest distance to the other image's map in as many draws of noise "
    "of the same size.",
    cost=Cost(forward=118, backward=137, explainer_calls=30),
    marks=("slow",),
)
def map_fooling_target(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: share of the mass that lies elsewhere than in the other image's map."""
    return kept_under_attack(bench, explainer, target_map)
