"""Add the wrong module to the cause of a failed finding."""

from dataclasses import replace

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.core.finding import Finding, comparable, within_limit
from pytest_xai.diagnosis.location import FOUND, Measure, locate
from pytest_xai.errors import XaiError
from pytest_xai.protocol import NamedExplainer

__all__ = ["exceeding", "is_final", "with_location"]


def exceeding(finding: Finding) -> list[int]:
    """Return the positions of the images that exceed their limits, worst first."""
    limits = torch.as_tensor(finding.limits).expand_as(finding.values)
    broken = ~within_limit(finding.values, limits, "<=") & comparable(finding.values, limits)
    # With a limit of zero, the largest value is the worst.
    excess = torch.where(limits > 0, finding.values / limits, finding.values)
    order: list[int] = torch.where(broken, excess, -torch.inf).argsort(descending=True).tolist()
    return order[: int(broken.sum())]


def is_final(bench: Bench, explainer: NamedExplainer) -> bool:
    """Return whether a failure on this bench is final, since no float64 copy can be explained.

    On a bench in float32 this costs one map, because some libraries do not support float64.
    """
    if bench.inputs.dtype == torch.float64:
        return True
    try:
        twin = bench.double().view(0, 1)
        twin.explain(explainer, twin.inputs)
    except XaiError:
        return True
    return False


def with_location(
    finding: Finding, bench: Bench, explainer: NamedExplainer, *, measure: Measure, short: str
) -> Finding:
    """Return the finding with the wrong module in its cause, if it failed and is final.

    Args:
        finding: result of the measure on the bench.
        bench: the bench with the images.
        explainer: the explainer whose maps do not add up.
        measure: the check without the search for the module.
        short: the sentence that replaces the cause if the module is found.
    """
    images = exceeding(finding)
    if not images or not is_final(bench, explainer):
        return finding
    location = locate(bench, explainer, measure=measure, images=images)
    cause = short if location.startswith(FOUND) else finding.cause
    return replace(finding, cause=f"{cause} {location}")
