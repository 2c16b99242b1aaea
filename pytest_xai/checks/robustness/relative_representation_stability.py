"""The map changes no more than what the model's last layer reads."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, rates, stability
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change only as much as the model's inner representation?",
    claim="For most images the map changes, relative to the representation, at no rate at which "
    "its largest change would take it halfway to another image's.",
    source="agarwal2022",
    scope="quality",
    judged="paired",
    limit_source=f"{LIMIT} Divided by the largest change of the representation.",
    cost=COST,
)
def relative_representation_stability(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |(R(x') - R(x)) / R(x)|_2 / |(L(x') - L(x)) / L(x)|_2 over copies x'.

    Agarwal et al. 2022 (RRS), norm L2, copies of the same prediction. L is what the last
    module with parameters reads: the output of the layers before it. Values are divided by no
    less than a tenth of the largest, and the denominator is at least half of the image's largest.
    """
    near = neighbours(bench, explainer)
    if (near.representation_change < 0).any():
        raise NotApplicable("the model has no representation: no layer reads what another wrote")
    value, limit = rates(near, near.representation_change)
    return stability(
        bench,
        explainer,
        near,
        figures=(value, limit),
        facts={"largest |dR/R|_2 / |dL/L|_2": value, "same halfway to another image's map": limit},
        cause="The map changes where the model's representation hardly does: it follows something "
        "in the input that the model does not answer to, jumps, or noise is drawn anew.",
    )
