"""Checks that an attack without gradients leaves the most important pixels in place."""

from pytest_xai.attacks.fooling import top_values
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._map_fooling import kept_under_attack
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="adversarial",
    question="Does the map keep its most important pixels under an attack without gradients?",
    claim="For most images, the worst map found with the same prediction keeps more of the top "
    "pixels than halfway between what noise of the same size and what another image's map keep.",
    source="ghorbani2019",
    scope="quality",
    direction=">=",
    judged="paired",
    figure="share of the top 20 % of the map that is kept under the attack",
    limit_source="Halfway between the smallest share kept in as many draws of noise of the same "
    "size and the share that the maps of two images have in common; the former if it is smaller.",
    cost=Cost(forward=130, explainer_calls=129),
    marks=("slow",),
)
def map_fooling_blackbox(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: share of the top 20 % kept at the worst perturbation found."""
    return kept_under_attack(bench, explainer, top_values, gradients=False)
