"""The attributions add up to what the input makes of the output: sum R = f(x) - f(x')."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.checks.axiomatic._path_points import along_a_path
from pytest_xai.core.verdict import Finding
from pytest_xai.diagnosis import with_place
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Evaluations of the gradient per image from which an explainer is taken to integrate it along a
# path: rules of back-propagation make one or two.
_PATH = 4
# Libraries hold step sizes in float32 whatever the model's dtype.
_STEP_SIZE = torch.finfo(torch.float32).eps
_UNKNOWN = "The sum is not f(x) - f(x')."


@check(
    family="axiomatic",
    question="Do the attributions add up to the difference of the outputs?",
    claim="The sum of the attributions is f(x) - f(x'), x' the subject's baseline.",
    source="sundararajan2017",
    scope="claimed",
    limit_source="Rounding of the summed terms, 8 eps sqrt(layers x fan-in) (sum|R| + |f(x)| + "
    "|f(x')|); for path methods also three times the quadrature bound pi/2 TV/n.",
    cost=Cost(forward=2, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def summation_to_delta(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the gap |sum R - (f(x) - f(x'))|.

    Where the sums agree with nothing else that is known, the module at fault is looked for.
    """
    finding = _measure(bench, explainer)
    if not finding.cause.startswith(_UNKNOWN):
        return finding
    return with_place(finding, bench, explainer, measure=_measure, short=_UNKNOWN)


def _measure(bench: Bench, explainer: NamedExplainer) -> Finding:
    before = bench.counter.spent
    maps = bench.explain(explainer, bench.inputs)
    steps = (bench.counter.spent - before).backward // len(bench)
    total = maps.double().flatten(1).sum(1)
    output, reference = bench.scores().double(), bench.baseline_scores().double()
    gap = (total - (output - reference)).abs()
    added = maps.double().abs().flatten(1).sum(1)
    size = added + output.abs() + reference.abs()
    tolerance = bench.rounding * size + bench.storage_rounding(explainer, maps) * added
    notes: tuple[str, ...] = ()
    if _integrates(explainer, steps) and (gap > tolerance).any():
        tolerance = tolerance + _quadrature(bench, steps) + _STEP_SIZE * size
        notes = (f"The tolerance holds the error of an integral by {steps} gradients.",)
    broken = bool((gap > tolerance).any())
    zeros = bench.scores(torch.zeros_like(bench.inputs)).double() if broken else None
    return Finding(
        values=gap,
        limits=tolerance,
        facts={
            "sum": total,
            "f(x)": output,
            "f(x')": reference,
            "gap": gap,
            "tolerance": tolerance,
        },
        tensors={"input": bench.inputs, "map": maps},
        notes=notes,
        cause=_cause(total, output, reference, zeros, tolerance),
    )


def _integrates(explainer: NamedExplainer, steps: int) -> bool:
    method = explainer.traits.method
    return steps >= _PATH and method in (None, "integrated_gradients")


def _quadrature(bench: Bench, steps: int) -> Tensor:
    """Largest error of a right integral of n gradients, (n,).

    The gap of a quadrature rule is at most its constant times TV(g)/n, g(a) the derivative of f
    along the path; pi/2 is the largest constant (Gauss-Legendre). TV is estimated at both
    ends, near them and at n midpoints, 16 at the least, which see less than all of it: hence three
    times. A slope that is high between two places only, as behind the normalisation of two values,
    is seen by none of them; but then these places do not add up to f(x) - f(x') either, and TV
    is at least what makes them miss it by so much.
    """
    inputs, baseline = bench.inputs, bench.baseline
    delta = inputs - baseline
    variation = torch.zeros(len(bench), dtype=torch.float64, device=inputs.device)
    last: Tensor | None = None
    before, area = 0.0, torch.zeros_like(variation)
    places = along_a_path(steps)
    for place in places:
        point = baseline + place * delta
        slope = (bench.gradients(point, bench.targets) * delta).double().flatten(1).sum(1)
        if last is not None:
            variation += (slope - last).abs()
            area += (place - before) * (slope + last) / 2
        last, before = slope, place
    missed = (area - (bench.scores() - bench.baseline_scores()).double()).abs()
    # Not further apart than this, so that the trapezoids miss no more than half of it times TV.
    widest = max(after - place for place, after in pairwise(places))
    return 3 * math.pi / 2 * torch.maximum(variation, 2 * missed / widest) / steps


def _cause(
    total: Tensor,
    output: Tensor,
    reference: Tensor,
    zeros: Tensor | None,
    tolerance: Tensor,
) -> str:
    """What else the sums agree with."""
    if zeros is None:
        return ""
    gap = (total - (output - reference)).abs()
    beyond = gap > tolerance
    near = {
        "f(x) - f(0): the explainer seems to use a baseline of zeros, not the subject's": output
        - zeros,
        "f(x): the explainer seems to leave out the baseline": output,
        "-(f(x) - f(x')): the sign, or the end points, seem to be swapped": reference - output,
    }
    for meaning, expected in near.items():
        # Nearer than a tenth: a tolerance may be as wide as the difference of two meanings.
        close = (total - expected).abs() <= gap / 10
        if (close & beyond).sum() > beyond.sum() / 2:
            return f"The sums agree with {meaning}."
    return (
        f"{_UNKNOWN} Known causes: absolute or normalised maps; a rule that "
        "mishandles a module that is used twice, a max-pool behind a ReLU, or a softmax."
    )
