"""What an explainer declares of the sign of its attributions holds."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.perturbations.constrained_networks import ends_weighted
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# By how much the added evidence exceeds all outputs and attributions of the model itself.
_DOMINANT = 400.0
# What speaks against the target is this much smaller: the two do not cancel, and rules that divide
# by their sum find one.
_AGAINST = -0.25


@check(
    family="axiomatic",
    question="Does the sign of an attribution mean what the explainer declares?",
    claim="There is no attribution below zero, or evidence for the target is above and evidence "
    "against it below zero, as declared.",
    source="ancona2018",
    scope="claimed",
    direction=">=",
    limit_source="The definition: zero. Evidence is beyond rounding of a sum over the model, "
    "relative to the map's largest value: 8 eps sqrt(layers x fan-in).",
    cost=Cost(forward=2, explainer_calls=2),
    max_images=ROUND,
    arbitrated=True,
)
def sign_convention(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the attribution of the most doubtful sign over the map's largest value.

    "non_negative": the smallest attribution. "evidence": to each output of the model a linear
    function of the first and the last feature is added, a hundred times larger than anything that
    the model itself does; one feature speaks for the target and the other against it, in turn from
    one output to the next. The value is the smaller of the two attributions, the one against the
    target with its sign changed.
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
        facts={"smallest attribution": least, "largest without sign": largest},
        left_out={"zero maps": int((largest == 0).sum())},
        tensors={"input": bench.inputs, "map": maps},
        cause="The explainer declares that no attribution is below zero, and some are: an absolute "
        "value or a rectification is missing, or it interpolates beyond its values.",
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
    doubtful = torch.where(expected[:, 1] != 0, torch.minimum(first, last), first)
    largest = rows.abs().amax(1)
    return Finding(
        values=torch.where(largest > 0, doubtful / largest, 0.0),
        limits=bench.rounding,
        facts={"first feature, as expected": first, "last feature, as expected": last},
        tensors={"input": inputs, "map": maps},
        cause="The explainer declares that the sign tells evidence for the target from evidence "
        "against it, and it does not: the sign is lost, turned round, or that of another output.",
    )


def _raised(bench: Bench) -> tuple[Tensor, Tensor, float]:
    """Images whose two ends exceed zero and the baseline, weights (outputs, 2), and the excess.

    The ends are the first and the last feature. Where they are at one place, or the same, the
    second has no say.
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
