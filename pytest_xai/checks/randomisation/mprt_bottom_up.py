"""The map changes when what the model has learned is drawn anew, from the input up."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import randomised
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the weights next to the input, and on all above them?",
    claim="With layer after layer drawn anew from the input up, maps are less like the original "
    "than halfway to the map of another image.",
    source="hedstrom2023",
    scope="claimed",
    judged="mean",
    limit_source="Halfway between identity (1) and the rank correlation of two unrelated maps, "
    "those of different images (the null).",
    cost=Cost(explainer_calls=1, per_layer=1),
)
def mprt_bottom_up(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: rank correlation of its maps before and after the weights are drawn anew.

    As in mprt_cascading, but the first layer is drawn first: no step leaves intact what the
    layers below compute, which top down keeps maps alike (Binder 2023).
    """
    ends = ("first layer drawn anew", "all drawn anew")
    return randomised(bench, explainer, "bottom_up", ends=ends)
