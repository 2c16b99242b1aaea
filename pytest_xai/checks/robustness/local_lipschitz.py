"""Near an image the map changes no faster than the size of the step allows."""

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import largest, neighbours
from pytest_xai.checks.robustness._stability import COST, LIMIT, stability
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import check


@check(
    family="robustness",
    question="Does the map change slowly, whatever the size of the perturbation?",
    claim="For most images the map changes at no rate at which the largest of the perturbations "
    "would take it halfway to another image's.",
    source="alvarezmelis2018",
    scope="quality",
    judged="paired",
    limit_source=f"{LIMIT} Divided by the largest step.",
    cost=COST,
)
def local_lipschitz(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: max |R(x') - R(x)|_2 / |x' - x|_2 over copies x' of the same prediction.

    Alvarez-Melis and Jaakkola 2018, both norms L2, over a sample of the ball. Steps of
    half the radius may change the map half as much: that is more than `max_sensitivity` asks.
    """
    near = neighbours(bench, explainer)
    value = largest(near.change / near.distance, near.held)
    limit = near.limit / largest(near.distance, near.held)
    return stability(
        bench,
        explainer,
        near,
        figures=(value, limit),
        facts={"largest |dR|_2/|dx|_2": value, "same halfway to another image's map": limit},
        cause="The map amplifies small differences of the input: a steep function inside, a "
        "division by nearly nothing, or a gradient of a network whose units switch nearby.",
    )
