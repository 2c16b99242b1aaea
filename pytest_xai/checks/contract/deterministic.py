"""The same seed gives the same map, and so does another seed unless the explainer is stochastic."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.finding import Finding
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Does the same seed give the same map?",
    claim="The map depends only on the model, the input and the target, and on the global seeds if "
    "the explainer is declared stochastic.",
    source="design",
    figure="largest change of the map, relative to its largest value",
    scope="universal",
    limit_source="The rounding error of a sum over the model: 8 eps sqrt(layers x fan-in).",
    cost=Cost(explainer_calls=3),
    max_images=ROUND,
)
def deterministic(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest change of its map, relative to its largest value."""
    first = bench.explain(explainer, bench.inputs)
    other_seed = bench.explain(explainer, bench.inputs, draw=1)
    again = bench.explain(explainer, bench.inputs)
    by_itself = relative_difference(again, first)
    by_seed = relative_difference(other_seed, first)
    cause = ""
    if (by_itself > bench.rounding).any():
        cause = (
            "With the same global seeds the map changed: it depends on earlier calls, or on a "
            "random generator that the global seeds do not control."
        )
    elif not explainer.traits.stochastic and (by_seed > bench.rounding).any():
        cause = "The map changes with the seed: declare the explainer with stochastic=True."
    return Finding(
        values=by_itself if explainer.traits.stochastic else torch.fmax(by_itself, by_seed),
        limits=bench.rounding,
        facts={"change with the same seed": by_itself, "change with another seed": by_seed},
        cause=cause,
    )
