"""Checks that the map changes in proportion to the outputs."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, rates, stability
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change only as much as the model's outputs?",
    claim="For most images, the map changes so slowly, relative to the outputs, that the largest "
    "change would not move it by half of the difference to another image's map.",
    source="agarwal2022",
    scope="quality",
    judged="paired",
    figure="largest relative change of the map per change of the outputs",
    limit_source=f"{LIMIT} Divided by the largest change of the outputs.",
    cost=COST,
)
def relative_output_stability(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |(R(x') - R(x)) / R(x)|_2 / |f(x') - f(x)|_2 over copies x'.

    This is ROS of Agarwal et al. 2022, norm L2, where f is all outputs (logits), over copies with
    the same prediction. Values are divided by at least a tenth of the map's largest value, and the
    denominator is at least half of the image's largest.
    """
    near = neighbours(bench, explainer)
    value, limit = rates(near, near.output_change)
    return stability(
        bench,
        explainer,
        near,
        figures=(value, limit),
        facts={
            "largest |dR/R|_2 / |df|_2": value,
            "half of |dR/R|_2 / |df|_2 to another image's map": limit,
        },
        cause="The map changes while the outputs hardly change: it follows a part of the input "
        "that the model does not use, it jumps, or the explainer draws new noise in every call.",
    )
