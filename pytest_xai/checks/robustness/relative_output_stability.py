"""The map changes no more than the outputs do."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, rates, stability
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change only as much as the model's outputs?",
    claim="For most images the map changes, relative to the outputs, at no rate at which their "
    "largest change would take it halfway to another image's.",
    source="agarwal2022",
    scope="quality",
    judged="paired",
    limit_source=f"{LIMIT} Divided by the largest change of the outputs.",
    cost=COST,
)
def relative_output_stability(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |(R(x') - R(x)) / R(x)|_2 / |f(x') - f(x)|_2 over copies x'.

    Agarwal et al. 2022 (ROS), norm L2, f all outputs (logits), copies of the same
    prediction. Values are divided by no less than a tenth of the map's largest, and the denominator
    is at least half of the image's largest.
    """
    near = neighbours(bench, explainer)
    value, limit = rates(near, near.output_change)
    return stability(
        bench,
        explainer,
        near,
        figures=(value, limit),
        facts={"largest |dR/R|_2 / |df|_2": value, "same halfway to another image's map": limit},
        cause="The map changes where the outputs hardly do: it follows something in the input that "
        "the model does not answer to, jumps, or noise is drawn anew.",
    )
