"""Checks that the map changes in proportion to the input of the model's last layer."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, rates, stability
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change only as much as the model's inner representation?",
    claim="For most images, the map changes so slowly, relative to the representation, that the "
    "largest change would not move it by half of the difference to another image's map.",
    source="agarwal2022",
    scope="quality",
    judged="paired",
    figure="largest relative change of the map per change of the representation",
    limit_source=f"{LIMIT} Divided by the largest change of the representation.",
    cost=COST,
)
def relative_representation_stability(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |(R(x') - R(x)) / R(x)|_2 / |(L(x') - L(x)) / L(x)|_2 over copies x'.

    This is RRS of Agarwal et al. 2022, norm L2, over copies with the same prediction. L is the
    input of the last module with parameters. Values are divided by at least a tenth of the largest
    value, and the denominator is at least half of the image's largest.
    """
    near = neighbours(bench, explainer)
    if (near.representation_change < 0).any():
        raise NotApplicable(
            "the model has no representation: no layer reads another layer's output"
        )
    value, limit = rates(near, near.representation_change)
    return stability(
        bench,
        explainer,
        near,
        figures=(value, limit),
        facts={
            "largest |dR/R|_2 / |dL/L|_2": value,
            "half of |dR/R|_2 / |dL/L|_2 to another image's map": limit,
        },
        cause="The map changes while the model's representation hardly changes: it follows a part "
        "of the input that the model does not use, it jumps, or the explainer draws new noise in "
        "every call.",
    )
