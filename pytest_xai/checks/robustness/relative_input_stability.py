"""Checks that the map changes in proportion to the input, both relative to their values."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, rates, stability
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change in proportion to the input?",
    claim="For most images, the map changes so slowly, relative to the input, that the largest "
    "change would not move it by half of the difference to another image's map.",
    source="agarwal2022",
    scope="quality",
    judged="paired",
    figure="largest relative change of the map per relative change of the input",
    limit_source=f"{LIMIT} Divided by the largest change of the input.",
    cost=COST,
)
def relative_input_stability(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |(R(x') - R(x)) / R(x)|_2 / |(x' - x) / x|_2 over copies x'.

    This is RIS of Agarwal et al. 2022, norm L2, over copies with the same prediction. Values are
    divided by at least a tenth of the map's largest value and of the inputs' range; otherwise a
    value of nearly zero would dominate. The denominator is at least half of the image's largest.
    """
    near = neighbours(bench, explainer)
    value, limit = rates(near, near.relative_distance)
    return stability(
        bench,
        explainer,
        near,
        figures=(value, limit),
        facts={
            "largest |dR/R|_2 / |dx/x|_2": value,
            "half of |dR/R|_2 / |dx/x|_2 to another image's map": limit,
        },
        cause="Small differences of the input change the map out of proportion: it contains a "
        "steep function or a division by nearly zero, or the explainer draws new noise in every "
        "call.",
    )
