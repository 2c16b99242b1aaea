"""Small perturbations change the map little on average."""

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import largest, neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, stability
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map stay where it is under small perturbations on average?",
    claim="For most images eight perturbations of half a percent of the inputs' range take the "
    "map on average less than halfway to another image's.",
    source="yeh2019",
    scope="quality",
    judged="paired",
    limit_source=LIMIT,
    cost=COST,
)
def avg_sensitivity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: mean |R(x') - R(x)|_2 / |R(x)|_2 over copies x' of the same prediction.

    Max-sensitivity (Yeh et al. 2019) with the mean in place of the maximum: blind to
    a jump that few perturbations meet.
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
            "mean change": value,
            "largest change": largest(near.change, near.held) / near.size,
            "halfway to another image's map": halfway,
        },
        cause="Nearly every perturbation changes the map: noise is drawn anew, it follows digits "
        "of the input that nobody sees, or small differences of the input are amplified.",
    )
