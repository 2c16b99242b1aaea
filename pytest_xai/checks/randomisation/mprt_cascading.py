"""The map changes when what the model has learned is drawn anew, from the output down."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import randomised
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the weights of the model?",
    claim="With layer after layer drawn anew from the output down, maps are less like the "
    "original than halfway to the map of another image.",
    source="adebayo2018",
    scope="quality",
    judged="mean",
    limit_source="Halfway between identity (1) and the rank correlation of two unrelated maps, "
    "those of different images (the null).",
    cost=Cost(explainer_calls=1, per_layer=1),
)
def mprt_cascading(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: rank correlation of its maps before and after the weights are drawn anew.

    Spearman's, for the same target, the mean over the steps of the cascade. A map that is turned
    over as a whole counts as the same, as in Sixt 2020: it points to the same places, and the sign
    of an output whose weights are drawn is a coin's. An image whose map is constant counts as 1
    if it stays constant at all steps.

    A layer is a module that owns parameters or buffers; each is drawn with its own seed, and every
    16 images have their own draw. Stochastic explainers have the same seed before and after.
    """
    return randomised(bench, explainer, "top_down", ends=("head drawn anew", "all drawn anew"))
