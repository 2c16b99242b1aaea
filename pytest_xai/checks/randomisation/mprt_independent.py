"""Checks that the map changes when a single layer is re-initialised."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import randomised
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the weights of each layer alone?",
    claim="Re-initialising a single layer changes the map, on average over the layers, by more "
    "than half as much as changing the image does.",
    source="adebayo2018",
    scope="claimed",
    judged="mean",
    figure="absolute rank correlation of the maps before and after re-initialisation",
    limit_source="Halfway between 1 (identical maps) and the absolute rank correlation with the "
    "map of another image.",
    cost=Cost(explainer_calls=1, per_layer=1),
)
def mprt_independent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: absolute rank correlation before and after re-initialisation.

    As in mprt_cascading, but each layer is restored before the next is re-initialised. The value
    is the mean over the layers.
    """
    ends = ("after re-initialising the head alone", "after re-initialising the first layer alone")
    return randomised(bench, explainer, "independent", ends=ends)
