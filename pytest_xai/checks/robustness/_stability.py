"""Rates of change over perturbed copies, and the finding of the checks that use them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import COPIES, Neighbours, largest
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost

__all__ = ["COST", "LIMIT", "rates", "stability"]

# The model is evaluated, and the explainer called, on every copy and on the original.
COST = Cost(forward=COPIES + 1, explainer_calls=COPIES + 1)
LIMIT = (
    "Half of the change to the map of another image, scaled to the same norm; at least the "
    "rounding error."
)


def rates(near: Neighbours, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the relative change of the map per step, and its limit (Agarwal et al. 2022).

    The smallest denominator that the paper allows is here half of the image's largest one: a
    smaller step is an accident of the direction. The limit is half of the relative change to
    another image's map, divided by the largest denominator.

    Args:
        near: copies of n images.
        steps: size of the step to each copy, (n, K).

    Returns:
        The largest rate and its limit, (n,) each; NaN for images without a step above zero.
    """
    reach = largest(steps, near.held)
    reach = reach.where(reach > 0, torch.nan)
    floored = torch.maximum(steps, reach[:, None] / 2)
    return largest(near.relative_change / floored, near.held), near.relative_limit / reach


def stability(
    bench: Bench,
    explainer: NamedExplainer,
    near: Neighbours,
    *,
    figures: tuple[Tensor, Tensor],
    facts: Mapping[str, Tensor],
    cause: str,
) -> Finding:
    """Return the finding of a check on copies; those that change the prediction do not count.

    Args:
        bench: of the images.
        explainer: makes the maps.
        near: the copies.
        figures: value and limit per image, (n,) each.
        facts: further numbers for the report, (n,) each.
        cause: the likely cause of a failure.
    """
    values, limits = figures
    flipped = ~near.held.any(1)
    zero = near.size.isnan()
    undefined = (values + limits).isnan() & ~flipped & ~zero
    return Finding(
        values=values,
        limits=limits,
        facts={**facts, "copies that kept the prediction": near.held.sum(1).double()},
        tensors={
            "input": bench.inputs,
            "map": bench.maps(explainer),
            "map that changed most": near.farthest,
        },
        left_out={
            "no copy kept the prediction": int(flipped.sum()),
            "zero maps": int((zero & ~flipped).sum()),
            "no step to compare with": int(undefined.sum()),
        },
        cause=cause,
    )
