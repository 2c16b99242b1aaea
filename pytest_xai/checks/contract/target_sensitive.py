"""The map of an image depends on its own target and on no other target of the batch."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_ALTERNATIVES = 3
# Below this, the sum of two logits is the same for all images: one is the other, sign-flipped.
_MIRRORED = 1e-3


@check(
    family="contract",
    question="Does the map of an image change when another class is explained?",
    claim="The map of an image changes with its own target, and not with the target of another "
    "image.",
    source="adebayo2018",
    figure="largest change of the map for another target, relative to its largest value",
    scope="universal",
    direction=">=",
    limit_source="The rounding error of a sum over the model: 8 eps sqrt(layers x fan-in). Any "
    "larger change counts.",
    cost=Cost(forward=1, explainer_calls=5),
    max_images=ROUND,
    arbitrated=True,
)
def target_sensitive(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest change of its map over three other targets.

    The change is relative to the largest value of the map, and 0 for an image whose map changed
    with the target of another image.
    """
    if explainer.traits.class_agnostic:
        raise NotApplicable("the explainer is declared class-agnostic")
    if bench.classes == 1:
        raise NotApplicable("the model has a single output")
    original = bench.maps(explainer)
    response = torch.full((len(bench),), torch.nan, dtype=torch.float64, device=original.device)
    leak = torch.zeros_like(response)
    odd = torch.arange(len(bench), device=original.device) % 2 == 1
    all_images = torch.ones_like(odd)
    for step in range(1, min(_ALTERNATIVES, bench.classes - 1) + 1):
        # The other half keeps its targets: a change there follows the target of another image.
        for half in (odd, ~odd) if step == 1 else (all_images,):
            targets = torch.where(half, (bench.targets + step) % bench.classes, bench.targets)
            change = relative_difference(bench.explain(explainer, bench.inputs, targets), original)
            response[half] = torch.fmax(response[half], change[half])
            leak[~half] = torch.fmax(leak[~half], change[~half])
    if not (original != 0).any():
        response.zero_()
    elif _mirrored(bench):
        response[response <= bench.rounding] = torch.nan
    leaking = leak > bench.rounding
    return Finding(
        values=torch.where(leaking, torch.zeros_like(response), response),
        limits=bench.rounding,
        facts={"change with its own target": response, "change with another image's target": leak},
        left_out={"zero maps, or logits of opposite sign": int(response.isnan().sum())},
        cause=_cause(response, bench.rounding, leaks=bool(leaking.any())),
    )


def _cause(response: Tensor, rounding: float, *, leaks: bool) -> str:
    if leaks:
        return "The map depends on another image's target: one target is used for the whole batch."
    if not (response > rounding).any():
        return (
            "The map is the same for every target. If the method ignores the target by design, "
            "declare the explainer with class_agnostic=True."
        )
    return "For some images the map is the same for every target."


def _mirrored(bench: Bench) -> bool:
    """Return whether there are two classes whose logits add up to a constant.

    Their gradients then differ in the sign alone, and absolute maps are rightly the same.
    """
    if bench.classes != 2:
        return False
    logits = bench.logits()
    total = logits.sum(1)
    return bool((total - total.mean()).abs().max() <= _MIRRORED * logits.abs().max())
