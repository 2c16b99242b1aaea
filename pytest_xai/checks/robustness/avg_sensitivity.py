"""Checks that small perturbations change the map little on average."""

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import largest, neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, stability
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change little under small perturbations, on average?",
    claim="For most images, eight perturbations of half a percent of the inputs' range change the "
    "map, on average, by less than half of the difference to another image's map.",
    source="yeh2019",
    scope="quality",
    judged="paired",
    figure="mean relative change of the map over eight small perturbations",
    limit_source=LIMIT,
    cost=COST,
)
def avg_sensitivity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: mean |R(x') - R(x)|_2 / |R(x)|_2 over copies x' of the same prediction.

    This is max-sensitivity (Yeh et al. 2019) with the mean instead of the maximum. It does not see
    a jump that few perturbations cross.
    """
    near = neighbours(bench, explainer)
    value = near.change.where(near.held, torch.nan).nanmean(1) / near.size
    halfway = near.limit / near.size
    return stability(
        bench,
        explainer,
        near,
        figures=(value, halfway),
        facts={
            "mean relative change": value,
            "largest relative change": largest(near.change, near.held) / near.size,
            "half of the change to another image's map": halfway,
        },
        cause="Nearly every imperceptible perturbation changes the map: the explainer draws new "
        "noise in every call, or it amplifies small differences of the input.",
    )
