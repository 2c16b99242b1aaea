"""The map of a sum of outputs is the sum of their maps."""

from functools import partial

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.checks._twins import steady
from pytest_xai.core.bias_terms import zero_sums
from pytest_xai.core.verdict import Finding
from pytest_xai.perturbations.transformed_networks import mixed
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_OWN, _OTHER = 2.0, -0.5


@check(
    family="axiomatic",
    question="Is the map of a weighted sum of two outputs the weighted sum of their maps?",
    claim="R(a f_c + b f_d) = a R(f_c) + b R(f_d).",
    source="sundararajan2017",
    scope="claimed",
    limit_source="Rounding of a sum over the model, relative to the largest of the added values: "
    "8 eps sqrt(layers x fan-in); a failure in float32 is decided in float64, where the limit is "
    "1 + |f|/|R| times that, and ten times what rounding of the input does to the map.",
    cost=Cost(forward=1, explainer_calls=3),
    max_images=ROUND,
    arbitrated=True,
)
def linearity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest difference of the two sides over the largest value added.

    The two outputs are the image's target c and the next class d, with a = 2 and b = -1/2; a
    linear layer behind the model mixes them, so all rules for linear layers keep the axiom. A model
    with a single output is scaled by 3/2. Images are left out at which a layer's value, or the mix
    itself, is exactly zero, so that rules that share it out have nothing to share.
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
        cause="Something between output and map is not linear: an absolute value, a rectified "
        "signal or map, a normalisation, or a probability in place of the logit.",
    )


def _largest(maps: Tensor) -> Tensor:
    return maps.abs().flatten(1).amax(1)
