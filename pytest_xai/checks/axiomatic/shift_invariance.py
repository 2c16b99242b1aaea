"""A constant that is added to the inputs, and that the network takes away, leaves the map."""

import math

from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.checks._twins import steady
from pytest_xai.core.verdict import Finding
from pytest_xai.measures import relative_difference
from pytest_xai.perturbations.constrained_networks import shifted
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="axiomatic",
    question="Does the map stay when a constant is added to the inputs and the model knows it?",
    claim="With f2(x + s) = f(x), the map of f2 at x + s is the map of f at x, the baseline "
    "shifted along.",
    source="kindermans2019",
    scope="claimed",
    limit_source="Rounding of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in); a failure in float32 is decided in float64, where the limit is "
    "1 + |f|/|R| times that, and ten times what rounding of the input does to the map.",
    cost=Cost(forward=1, explainer_calls=2),
    max_images=ROUND,
    arbitrated=True,
)
def shift_invariance(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest difference of the two maps over the largest value.

    The shifted network subtracts s and runs the model: exact for every padding, where a change of
    the first layer's bias is not. The images are rounded to numbers of which x + s holds each bit,
    so that both networks compute with the same ones.
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
        # A path to the shifted input is rounded with the shift.
        limits=steady(bench, explain, inputs, maps, difference, beside=by),
        left_out={"zero maps": int(difference.isnan().sum())},
        tensors={"input": inputs, "map": maps, "map of the shifted input": theirs},
        notes=(f"Shifted by {by:g}.",),
        cause="The map follows the inputs' zero, which the model does not: it is multiplied with "
        "the input, or the explainer has a baseline of its own (black, zeros, a fixed fill) in "
        "place of the subject's.",
    )


def _constant(bench: Bench) -> float:
    """A power of two, at least twice as large as any value: no sum with it is rounded twice."""

    def largest(values: Tensor) -> float:
        return float(values.abs().max())

    size = max(largest(bench.subject.inputs), largest(bench.subject.baseline))
    return 2.0 ** math.ceil(math.log2(2 * size)) if size > 0 else 1.0
