"""The map changes when a single layer is drawn anew and all others stay trained."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import randomised
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the weights of each layer alone?",
    claim="With one layer drawn anew and the others as trained, maps are on average less like the "
    "original than halfway to the map of another image.",
    source="adebayo2018",
    scope="claimed",
    judged="mean",
    limit_source="Halfway between identity (1) and the rank correlation of two unrelated maps, "
    "those of different images (the null).",
    cost=Cost(explainer_calls=1, per_layer=1),
)
def mprt_independent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: rank correlation of its maps before and after a layer is drawn anew.

    As in mprt_cascading, but each layer is put back before the next is drawn: the mean over the
    layers, one at a time.
    """
    ends = ("head alone drawn anew", "first layer alone drawn anew")
    return randomised(bench, explainer, "independent", ends=ends)
