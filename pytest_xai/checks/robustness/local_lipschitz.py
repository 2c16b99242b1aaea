"""Checks that near an image the map changes in proportion to the step."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import largest, neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, stability
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change slowly for perturbations of any small size?",
    claim="For most images, the map changes so slowly that the largest perturbation would not "
    "change it by half of the difference to another image's map.",
    source="alvarezmelis2018",
    scope="quality",
    judged="paired",
    figure="largest change of the map per change of the input",
    limit_source=f"{LIMIT} Divided by the largest step.",
    cost=COST,
)
def local_lipschitz(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |R(x') - R(x)|_2 / |x' - x|_2 over copies x' of the same prediction.

    This is the figure of Alvarez-Melis and Jaakkola 2018, with both norms L2, over a sample of the
    ball. A step of half the radius may change the map half as much, so this is stricter than
    `max_sensitivity`.
    """
    near = neighbours(bench, explainer)
    value = largest(near.change / near.distance, near.held)
    limit = near.limit / largest(near.distance, near.held)
    return stability(
        bench,
        explainer,
        near,
        figures=(value, limit),
        facts={
            "largest |dR|_2 / |dx|_2": value,
            "half of |dR|_2 / |dx|_2 to another image's map": limit,
        },
        cause="The map amplifies small differences of the input: it contains a steep function, a "
        "division by nearly zero, or the gradient of a network whose units switch nearby.",
    )
