"""The same seed gives the same map; another seed too, unless the explainer declares otherwise."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.verdict import Finding
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Does the same seed give the same map?",
    claim="Maps depend on nothing but model, input, target and, if declared, the global seeds.",
    source="design",
    scope="universal",
    limit_source="Rounding of a sum over the model: 8 eps sqrt(layers x fan-in).",
    cost=Cost(explainer_calls=3),
    max_images=ROUND,
)
def deterministic(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest change of the map, relative to its largest value."""
    first = bench.explain(explainer, bench.inputs)
    other_seed = bench.explain(explainer, bench.inputs, draw=1)
    again = bench.explain(explainer, bench.inputs)
    by_itself = relative_difference(again, first)
    by_seed = relative_difference(other_seed, first)
    cause = ""
    if (by_itself > bench.rounding).any():
        cause = (
            "With the same global seeds the map changed: it depends on earlier calls, or on a "
            "generator that no seed reaches."
        )
    elif not explainer.traits.stochastic and (by_seed > bench.rounding).any():
        cause = "The map changes with the seed: declare the explainer with stochastic=True."
    return Finding(
        values=by_itself if explainer.traits.stochastic else torch.fmax(by_itself, by_seed),
        limits=bench.rounding,
        facts={"change with the same seed": by_itself, "change with another seed": by_seed},
        cause=cause,
    )
