"""Checks that the map changes when layers are re-initialised from the output down."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import randomised
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the weights of the model?",
    claim="Re-initialising the layers one after the other, from the output down, changes the map "
    "by more than half as much as changing the image does.",
    source="adebayo2018",
    scope="quality",
    judged="mean",
    figure="absolute rank correlation of the maps before and after re-initialisation",
    limit_source="Halfway between 1 (identical maps) and the absolute rank correlation with the "
    "map of another image.",
    cost=Cost(explainer_calls=1, per_layer=1),
)
def mprt_cascading(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: absolute rank correlation before and after re-initialisation.

    It is Spearman's, for the same target, averaged over the steps of the cascade. A sign-flipped
    map counts as the same map, as in Sixt 2020: it points to the same places, and with
    re-initialised weights the sign of an output is random. An image whose map is constant counts
    as 1 if it stays constant at all steps.

    A layer is a module that owns parameters or buffers. Each layer has its own seed, and every 16
    images have their own weights. Stochastic explainers have the same seed before and after.
    """
    return randomised(
        bench,
        explainer,
        "top_down",
        ends=("after re-initialising the head", "after re-initialising all layers"),
    )
