"""No small perturbation changes the map much."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import largest, neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, stability
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map stay where it is under the worst of a few small perturbations?",
    claim="For most images none of eight perturbations of half a percent of the inputs' range "
    "takes the map halfway to another image's.",
    source="yeh2019",
    scope="quality",
    judged="paired",
    limit_source=LIMIT,
    cost=COST,
)
def max_sensitivity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |R(x') - R(x)|_2 / |R(x)|_2 over copies x' of the same prediction.

    Yeh et al. 2019 (SENS_MAX), over a sample of the ball of the L2 norm, and divided by
    the norm of the map, as captum and Quantus do. It is a lower bound of the worst case.
    """
    near = neighbours(bench, explainer)
    value = largest(near.change, near.held) / near.size
    halfway = near.limit / near.size
    return stability(
        bench,
        explainer,
        near,
        figures=(value, halfway),
        facts={"largest change": value, "halfway to another image's map": halfway},
        cause="A perturbation that nobody sees changes the map: it jumps, noise is drawn anew, "
        "or small differences of the input are amplified.",
    )
