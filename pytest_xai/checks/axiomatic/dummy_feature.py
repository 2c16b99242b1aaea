"""A feature that cannot affect the output gets no attribution."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.perturbations.transformed_networks import widened
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="axiomatic",
    question="Does a feature that the model ignores get zero attribution?",
    claim="A channel that is removed before the first layer of the model gets no attribution.",
    source="sundararajan2017",
    figure="largest attribution of the ignored channel, relative to the map's largest value",
    scope="claimed",
    limit_source="The rounding error of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in).",
    cost=Cost(explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def dummy_feature(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest attribution of an added channel over the map's largest value.

    The channel holds noise from the range of the inputs, also in the baseline. With zeros, every
    method that multiplies by the input would return zero.
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
        raise NotApplicable(
            "the map has no channels, so that the added channel has no attribution of its own"
        )
    dummy = maps[:, -1:].double().abs().flatten(1).amax(1)
    largest = maps.double().abs().flatten(1).amax(1)
    return Finding(
        values=dummy / largest,  # NaN for a map of zeros
        limits=bench.rounding,
        facts={"largest attribution of the ignored channel": dummy, "largest attribution": largest},
        left_out={"zero maps": int((largest == 0).sum())},
        cause="The explainer spreads attribution to features that the model ignores, for example "
        "by channel sums, smoothing, or a window over all channels.",
    )
