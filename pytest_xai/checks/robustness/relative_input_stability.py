"""The map changes no more than the input does, both relative to what they were."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, rates, stability
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change in proportion to the input?",
    claim="For most images the map changes, relative to the input, at no rate at which the "
    "largest of the perturbations would take it halfway to another image's.",
    source="agarwal2022",
    scope="quality",
    judged="paired",
    limit_source=f"{LIMIT} Divided by the largest change of the input.",
    cost=COST,
)
def relative_input_stability(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |(R(x') - R(x)) / R(x)|_2 / |(x' - x) / x|_2 over copies x'.

    Agarwal et al. 2022 (RIS), norm L2, copies of the same prediction. Values are divided by
    no less than a tenth of the map's largest and of the inputs' range: a value of nearly nothing
    would make the whole figure otherwise. The denominator is at least half of the image's largest.
    """
    near = neighbours(bench, explainer)
    value, limit = rates(near, near.relative_distance)
    return stability(
        bench,
        explainer,
        near,
        figures=(value, limit),
        facts={"largest |dR/R|_2 / |dx/x|_2": value, "same halfway to another image's map": limit},
        cause="Small differences of the input change the map out of proportion: a steep function "
        "inside, a division by nearly nothing, or noise that is drawn anew.",
    )
