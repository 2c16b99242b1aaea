"""The signs of the attributions mean what the explainer declares."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.perturbations.constrained_networks import ends_weighted
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Factor by which the added evidence exceeds all outputs and attributions of the model itself.
_DOMINANT = 400.0
# Evidence against the target, relative to evidence for it. The two differ, so that they do not
# cancel and rules can divide by their sum.
_AGAINST = -0.25


@check(
    family="axiomatic",
    question="Does the sign of an attribution mean what the explainer declares?",
    claim="As declared, either no attribution is negative, or evidence for the target has a "
    "positive and evidence against it a negative attribution.",
    source="ancona2018",
    figure="smallest attribution with its expected sign, relative to the map's largest",
    scope="claimed",
    direction=">=",
    limit_source="The definition: zero. For evidence, the rounding error of a sum over the model, "
    "relative to the map's largest value: 8 eps sqrt(layers x fan-in).",
    cost=Cost(forward=2, explainer_calls=2),
    max_images=ROUND,
    arbitrated=True,
)
def sign_convention(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the smallest attribution, with its expected sign, over the map's largest.

    For "non_negative" this is the smallest attribution of the map. For "evidence" the check adds to
    each output of the model a linear function of the first and the last feature, a hundred times
    larger than all outputs and attributions of the model. One of the two features is evidence for
    the target and the other against it, with alternating roles from one output to the next. The
    value is the smaller of the two attributions, where the one against the target is sign-flipped.
    """
    sign = explainer.traits.sign
    if sign is None:
        raise NotApplicable(
            'the explainer declares no sign: xai.explainer(sign="non_negative" or "evidence")'
        )
    return (_non_negative if sign == "non_negative" else _evidence)(bench, explainer)


def _non_negative(bench: Bench, explainer: NamedExplainer) -> Finding:
    maps = bench.maps(explainer)
    rows = maps.double().flatten(1)
    least, largest = rows.amin(1), rows.abs().amax(1)
    return Finding(
        values=torch.where(largest > 0, least / largest, torch.nan),
        limits=0.0,
        facts={"smallest attribution": least, "largest absolute attribution": largest},
        left_out={"zero maps": int((largest == 0).sum())},
        tensors={"input": bench.inputs, "map": maps},
        cause="The explainer declares that no attribution is negative, but some are: an absolute "
        "value or a rectification is missing, or the interpolation of the map overshoots.",
    )


def _evidence(bench: Bench, explainer: NamedExplainer) -> Finding:
    inputs, ends, span = _raised(bench)
    own = bench.explain(explainer, inputs)
    outputs = [bench.logits(inputs), bench.logits(bench.baseline), own]
    size = max(float(values.abs().max()) for values in outputs)
    weight = ends * _DOMINANT * (size or 1.0) / min(span, 1.0)
    network = Guard(ends_weighted(bench.subject.model, weight))
    maps = bench.explain(explainer, inputs, on=network)
    rows, expected = maps.double().flatten(1), ends[bench.targets].sign()
    first, last = rows[:, 0] * expected[:, 0], rows[:, -1] * expected[:, 1]
    smallest = torch.where(expected[:, 1] != 0, torch.minimum(first, last), first)
    largest = rows.abs().amax(1)
    return Finding(
        values=torch.where(largest > 0, smallest / largest, 0.0),
        limits=bench.rounding,
        facts={
            "first feature, with expected sign": first,
            "last feature, with expected sign": last,
        },
        tensors={"input": inputs, "map": maps},
        cause="The explainer declares that the sign separates evidence for the target from "
        "evidence against it, but it does not: the sign is lost, flipped, or that of another "
        "output.",
    )


def _raised(bench: Bench) -> tuple[Tensor, Tensor, float]:
    """Return images with raised ends, the weights of the ends, and the amount of the raise.

    The ends are the first and the last feature. Where both are at the same position, the weight of
    the second one is zero.

    Returns:
        Images whose two ends exceed zero and the baseline, (n, *shape), the weights of the two ends
        for each output, (outputs, 2), and the width of the bounds.
    """
    low, high = bench.bounds
    rows, reference = bench.inputs.flatten(1).clone(), bench.baseline.flatten(1)
    for end in (0, -1):
        rows[:, end] = reference[:, end].clamp(min=0) + (high - low)
    sides = bench.inputs.shape[2:] or bench.inputs.shape[1:]
    against = _AGAINST if sides.numel() > 1 else 0.0
    turns = torch.tensor([1.0, -1.0]).repeat(bench.classes)[: bench.classes, None]
    ends = (turns * torch.tensor([[1.0, against]])).to(rows)
    return rows.view_as(bench.inputs), ends, high - low
