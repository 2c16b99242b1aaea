"""Checks that the map changes when layers are re-initialised from the input up."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import randomised
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the weights near the input, and on all later ones?",
    claim="Re-initialising the layers one after the other, from the input up, changes the map by "
    "more than half as much as changing the image does.",
    source="hedstrom2023",
    scope="claimed",
    judged="mean",
    figure="absolute rank correlation of the maps before and after re-initialisation",
    limit_source="Halfway between 1 (identical maps) and the absolute rank correlation with the "
    "map of another image.",
    cost=Cost(explainer_calls=1, per_layer=1),
)
def mprt_bottom_up(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: absolute rank correlation before and after re-initialisation.

    As in mprt_cascading, but the first layer is re-initialised first. Then no step leaves the
    early layers intact, which would keep maps similar (Binder 2023).
    """
    ends = ("after re-initialising the first layer", "after re-initialising all layers")
    return randomised(bench, explainer, "bottom_up", ends=ends)
