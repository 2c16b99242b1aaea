"""A broken finding with the place at fault added to its cause."""

from dataclasses import replace

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.core.verdict import Finding, holds, tells
from pytest_xai.diagnosis.location import PLACE, Measure, locate
from pytest_xai.errors import XaiError
from pytest_xai.protocol import NamedExplainer

__all__ = ["beyond", "is_last", "with_place"]


def beyond(finding: Finding) -> list[int]:
    """Positions of the images that are beyond their limits, worst first."""
    limits = torch.as_tensor(finding.limits).expand_as(finding.values)
    broken = ~holds(finding.values, limits, "<=") & tells(finding.values, limits)
    # A limit of zero: the largest figure is the worst.
    excess = torch.where(limits > 0, finding.values / limits, finding.values)
    order: list[int] = torch.where(broken, excess, -torch.inf).argsort(descending=True).tolist()
    return order[: int(broken.sum())]


def is_last(bench: Bench, explainer: NamedExplainer) -> bool:
    """Whether a failure on this bench is final: no float64 copy will decide it.

    It costs one map where the bench is in float32: some libraries know no float64.
    """
    if bench.inputs.dtype == torch.float64:
        return True
    try:
        twin = bench.double().view(0, 1)
        twin.explain(explainer, twin.inputs)
    except XaiError:
        return True
    return False


def with_place(
    finding: Finding, bench: Bench, explainer: NamedExplainer, *, measure: Measure, short: str
) -> Finding:
    """The finding with the module at fault named, if it is broken and final.

    Args:
        finding: of the measure on the bench.
        bench: where it was made.
        explainer: whose maps do not add up.
        measure: the check without this.
        short: what is left of the cause where the place is known.
    """
    images = beyond(finding)
    if not images or not is_last(bench, explainer):
        return finding
    place = locate(bench, explainer, measure=measure, images=images)
    cause = short if place.startswith(PLACE) else finding.cause
    return replace(finding, cause=f"{cause} {place}")
