"""What the checks on perturbed copies have in common: rates of change, and their finding."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import COPIES, Neighbours, largest
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost

__all__ = ["COST", "LIMIT", "rates", "stability"]

# Every copy is answered by the model and explained, and so is the original.
COST = Cost(forward=COPIES + 1, explainer_calls=COPIES + 1)
LIMIT = (
    "Halfway between no change and the change to the map of another image, scaled to the same norm "
    "(the null); at least what rounding may do."
)


def rates(near: Neighbours, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Relative change of the map per step, and its limit (Agarwal et al. 2022).

    The paper's smallest denominator is half of the image's largest: what is nearer to no step
    at all is so by luck of the direction. The limit is the relative change halfway to another
    image's map over that largest denominator.

    Args:
        near: copies of n images.
        steps: size of the step to each copy, in whatever it is measured, (n, K).

    Returns:
        The largest rate and its limit, (n,) each; NaN where no step is one.
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
    """The finding of a check on perturbed copies; only those that kept the prediction count.

    Args:
        bench: whose images.
        explainer: whose maps.
        near: the copies.
        figures: value and limit per image, (n,) each.
        facts: what else is shown, (n,) each.
        cause: the likely cause of a failure.
    """
    values, limits = figures
    flipped = ~near.held.any(1)
    zero = near.size.isnan()
    silent = (values + limits).isnan() & ~flipped & ~zero
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
            "nothing to compare with": int(silent.sum()),
        },
        cause=cause,
    )
