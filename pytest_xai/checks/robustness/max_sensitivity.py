"""Checks that no small perturbation changes the map much."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import largest, neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, stability
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change little under the worst of a few small perturbations?",
    claim="For most images, none of eight perturbations of half a percent of the inputs' range "
    "changes the map by half of the difference to another image's map.",
    source="yeh2019",
    scope="quality",
    judged="paired",
    figure="largest relative change of the map over eight small perturbations",
    limit_source=LIMIT,
    cost=COST,
)
def max_sensitivity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |R(x') - R(x)|_2 / |R(x)|_2 over copies x' of the same prediction.

    This is SENS_MAX of Yeh et al. 2019 over a sample of an L2 ball, divided by the norm of the
    map, as captum and Quantus do. It is a lower bound of the worst case.
    """
    near = neighbours(bench, explainer)
    value = largest(near.change, near.held) / near.size
    halfway = near.limit / near.size
    return stability(
        bench,
        explainer,
        near,
        figures=(value, halfway),
        facts={
            "largest relative change": value,
            "half of the change to another image's map": halfway,
        },
        cause="An imperceptible perturbation changes the map: the map jumps, the explainer draws "
        "new noise in every call, or it amplifies small differences of the input.",
    )
