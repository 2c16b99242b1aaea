"""Checks that an attack on the map does not move its centre of mass far."""

from pytest_xai.attacks.fooling import mass_centre
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._map_fooling import kept_under_attack
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="adversarial",
    question="Does the centre of mass of the map stay in place under an attack on the map?",
    claim="For most images, the centre of mass of the worst map found with the same prediction "
    "moves less than halfway between the shift by noise of the same size and the shift to another "
    "image's map.",
    source="ghorbani2019",
    scope="quality",
    direction=">=",
    judged="paired",
    figure="closeness of the centres of mass of the maps before and after the attack",
    limit_source="Halfway between the smallest closeness in as many draws of noise of the same "
    "size and the closeness for the maps of two images; the former if it is smaller.",
    cost=Cost(forward=118, backward=137, explainer_calls=30),
    marks=("slow",),
)
def map_fooling_center(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: 1 minus the shift of the centre of mass, as a share of the diagonal."""
    return kept_under_attack(bench, explainer, mass_centre)
