"""The map of a weighted sum of outputs is the weighted sum of their maps."""

from functools import partial

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.checks._twins import steady
from pytest_xai.core.bias_terms import zero_sums
from pytest_xai.core.finding import Finding
from pytest_xai.perturbations.transformed_networks import mixed
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_OWN, _OTHER = 2.0, -0.5


@check(
    family="axiomatic",
    question="Is the map of a weighted sum of two outputs the weighted sum of their maps?",
    claim="The map of a f_c + b f_d is a R(f_c) + b R(f_d).",
    source="sundararajan2017",
    figure="largest difference between the two sides, relative to the largest value added",
    scope="claimed",
    limit_source="The rounding error of a sum over the model, relative to the largest added value: "
    "8 eps sqrt(layers x fan-in). A failure in float32 is repeated in float64, where the limit is "
    "1 + |f|/|R| times as large, plus ten times the change of the map by rounding of the input.",
    cost=Cost(forward=1, explainer_calls=3),
    max_images=ROUND,
    arbitrated=True,
)
def linearity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest difference of the two sides over the largest value added.

    The two outputs are the image's target c and the next class d, with a = 2 and b = -1/2. A linear
    layer after the model mixes them, so that all rules for linear layers satisfy the axiom. A model
    with a single output is scaled by 3/2. The check leaves out images for which a layer's value, or
    the weighted sum itself, is exactly zero, since rules that distribute it are then undefined.
    """
    model, like = bench.subject.model, bench.inputs
    network = mixed(model, outputs=bench.classes, own=_OWN, other=_OTHER, like=like)
    together = bench.explain(explainer, bench.inputs, on=Guard(network)).double()
    own = bench.explain(explainer, bench.inputs).double()
    following = (bench.targets + 1) % bench.classes
    other = bench.explain(explainer, bench.inputs, following).double()
    apart = _OWN * own + _OTHER * other
    added = torch.maximum(_largest(_OWN * own), _largest(_OTHER * other))
    difference = _largest(together - apart)
    values = torch.where(added > 0, difference / added, torch.nan)
    limits = bench.rounding_of(added[:, None])
    zero = torch.zeros_like(values, dtype=torch.bool)
    if (values > limits).any() and bench.differentiable:
        zero = bench.batched(partial(zero_sums, network), bench.inputs, bench.targets)
    if (values > limits).any():
        wide = steady(bench, lambda x: bench.explain(explainer, x), bench.inputs, own, values)
        limits = torch.where(values <= wide, wide, limits)
    return Finding(
        values=values.masked_fill(zero, torch.nan),
        limits=limits,
        facts={"largest difference": difference, "largest value added": added},
        left_out={
            "zero maps": int((added == 0).sum()),
            "a layer's value is exactly zero": int(zero.sum()),
        },
        cause="A step between output and map is not linear, such as an absolute value, a rectified "
        "signal or map, a normalisation, or a probability instead of the logit.",
    )


def _largest(maps: Tensor) -> Tensor:
    return maps.abs().flatten(1).amax(1)
