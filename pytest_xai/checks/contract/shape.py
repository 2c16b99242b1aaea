"""The explainer returns one map per input, of the input's shape or of its spatial shape."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.attribution import normalise
from pytest_xai.core.finding import Finding
from pytest_xai.errors import InvalidAttribution
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Does every map have the shape of its input?",
    claim="The explainer returns a floating-point tensor with one map of the right shape per "
    "input, for a batch and for a single image.",
    source="design",
    figure="number of calls that returned no valid map of the image (0 or 1)",
    scope="universal",
    limit_source="The contract: every image has its map.",
    cost=Cost(explainer_calls=2),
    max_images=ROUND,
)
def shape(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image 1 if the call that explained it returned no valid maps, and 0 otherwise."""
    values, cause = torch.zeros(len(bench)), ""
    start = 0
    alone = bench.view(0, 1)
    for batch in (*bench.chunks(), alone):
        output = batch.output(explainer)
        position = 0 if batch is alone else start
        start += len(batch)
        try:
            normalise(output, batch.inputs)
        except InvalidAttribution as error:
            if error.problem == "finite":
                continue
            values[position : position + len(batch)] = 1
            cause = f"In a batch of {len(batch)}, {error}."
    return Finding(values=values, cause=cause)
