"""A feature that the output provably ignores gets no attribution."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.perturbations.transformed_networks import widened
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="axiomatic",
    question="Does a feature that the model never reads get zero?",
    claim="A channel that is cut off before the model's first layer gets no attribution.",
    source="sundararajan2017",
    scope="claimed",
    limit_source="Rounding of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in).",
    cost=Cost(explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def dummy_feature(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the added channel's largest attribution over the map's largest.

    The channel holds noise from the range of the inputs, in the baseline as well: zeros would be
    given zero by everything that multiplies with the input.
    """
    low, high = bench.bounds
    generator = bench.generator("dummy feature")
    shape = (2, len(bench), 1, *bench.inputs.shape[2:])
    noise = torch.rand(shape, generator=generator, dtype=torch.float64)
    channel, reference = (low + (high - low) * noise).to(bench.inputs)
    maps = bench.explain(
        explainer,
        torch.cat([bench.inputs, channel], 1),
        baseline=torch.cat([bench.baseline, reference], 1),
        on=Guard(widened(bench.subject.model)),
    )
    if maps.shape[1] != bench.inputs.shape[1] + 1:
        raise NotApplicable("the map has no channels, so that no feature can be told apart")
    dummy = maps[:, -1:].double().abs().flatten(1).amax(1)
    largest = maps.double().abs().flatten(1).amax(1)
    return Finding(
        values=dummy / largest,  # NaN of a map of zeros
        limits=bench.rounding,
        facts={"largest attribution of the unread channel": dummy, "largest attribution": largest},
        left_out={"zero maps": int((largest == 0).sum())},
        cause="Attribution is spread over features whether the model reads them or not: by "
        "channel sums, smoothing, or a window over all channels.",
    )
