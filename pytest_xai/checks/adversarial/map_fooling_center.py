"""The map's mass stays where it is when the map itself is attacked."""

from pytest_xai.attacks.fooling import mass_centre
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._map_fooling import kept_under_attack
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="adversarial",
    question="Does the map's centre of mass stay where it is under an attack on the map?",
    claim="For most images the centre of the worst map found, prediction kept, moves less than "
    "halfway from where noise of the same size moves it to that of another image's map.",
    source="ghorbani2019",
    scope="quality",
    direction=">=",
    judged="paired",
    limit_source="Halfway between the least that as many draws of noise of the same size leave and "
    "how near the centres of the maps of two images are (the nulls); the former where it is the "
    "smaller.",
    cost=Cost(forward=118, backward=137, explainer_calls=30),
    marks=("slow",),
)
def map_fooling_center(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: 1 less the shift of the centre of mass, as a share of the diagonal."""
    return kept_under_attack(bench, explainer, mass_centre)
