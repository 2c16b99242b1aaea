"""A constant added to the inputs and subtracted again by the network does not change the map."""

import math

from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.checks._twins import steady
from pytest_xai.core.finding import Finding
from pytest_xai.measures import relative_difference
from pytest_xai.perturbations.constrained_networks import shifted
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="axiomatic",
    question="Does the map stay the same when the inputs are shifted and the model is adapted to "
    "the shift?",
    claim="If f2(x + s) = f(x) and the baseline is shifted as well, the map of f2 at x + s is "
    "the map of f at x.",
    source="kindermans2019",
    figure="largest difference between the two maps, relative to the largest value",
    scope="claimed",
    limit_source="The rounding error of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in). A failure in float32 is repeated in float64, where the limit is "
    "1 + |f|/|R| times as large, plus ten times the change of the map by rounding of the input.",
    cost=Cost(forward=1, explainer_calls=2),
    max_images=ROUND,
    arbitrated=True,
)
def shift_invariance(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest difference of the two maps over the largest value.

    The shifted network subtracts s and runs the model. Unlike a change of the first layer's bias,
    this is exact for every padding. The images are rounded so that x + s is exact and both networks
    compute with the same numbers.
    """
    by = _constant(bench)
    inputs, baseline = (bench.inputs + by) - by, (bench.baseline + by) - by

    def explain(images: Tensor) -> Tensor:
        return bench.explain(explainer, images, baseline=baseline)

    maps = explain(inputs)
    network = Guard(shifted(bench.subject.model, by=by))
    theirs = bench.explain(explainer, inputs + by, baseline=baseline + by, on=network)
    difference = relative_difference(theirs, maps)
    return Finding(
        values=difference,
        # Points on a path to the shifted input are rounded together with the shift.
        limits=steady(bench, explain, inputs, maps, difference, beside=by),
        left_out={"zero maps": int(difference.isnan().sum())},
        tensors={"input": inputs, "map": maps, "map of the shifted input": theirs},
        notes=(f"Shifted by {by:g}.",),
        cause="The map depends on the zero point of the inputs, and the model does not: it is "
        "multiplied with the input, or the explainer uses a baseline of its own (black, zeros, a "
        "fixed fill) instead of the subject's.",
    )


def _constant(bench: Bench) -> float:
    """Return a power of two of at least twice the largest value, so that sums are rounded once."""

    def largest(values: Tensor) -> float:
        return float(values.abs().max())

    size = max(largest(bench.subject.inputs), largest(bench.subject.baseline))
    return 2.0 ** math.ceil(math.log2(2 * size)) if size > 0 else 1.0
