"""The attributions add up to the difference of the outputs: sum R = f(x) - f(x')."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.checks.axiomatic._path_points import along_a_path
from pytest_xai.core.finding import Finding
from pytest_xai.diagnosis import with_location
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# With this many gradient evaluations per image, an explainer is assumed to integrate along a path:
# rules of back-propagation need one or two.
_PATH = 4
# Libraries store step sizes in float32, whatever the dtype of the model.
_STEP_SIZE = torch.finfo(torch.float32).eps
_UNKNOWN = "The sum is not f(x) - f(x')."


@check(
    family="axiomatic",
    question="Do the attributions add up to the difference of the outputs?",
    claim="The sum of the attributions is f(x) - f(x'), where x' is the baseline of the subject.",
    source="sundararajan2017",
    figure="gap between the sum of the attributions and f(x) - f(x')",
    scope="claimed",
    limit_source="The rounding error of the sum: 8 eps sqrt(layers x fan-in) (sum|R| + |f(x)| + "
    "|f(x')|). For path methods three times the quadrature bound pi/2 TV/n is added.",
    cost=Cost(forward=2, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def summation_to_delta(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the gap |sum R - (f(x) - f(x'))|.

    If the wrong sums agree with no known expression, the check searches for the wrong module.
    """
    finding = _measure(bench, explainer)
    if not finding.cause.startswith(_UNKNOWN):
        return finding
    return with_location(finding, bench, explainer, measure=_measure, short=_UNKNOWN)


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
        notes = (f"The limit includes the error of an integral with {steps} gradients.",)
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
    """Return the largest error of a correct integral with the given number of gradients, (n,).

    The gap of a quadrature rule is at most its constant times TV(g)/n, where g(a) is the derivative
    of f along the path, and pi/2 is the largest constant (Gauss-Legendre). TV is estimated at both
    ends, near them and at n or at least 16 midpoints. The estimate is too small in general, hence
    the factor of three. All points miss a slope that is steep only between two of them, for example
    after a normalisation of two values. In that case the trapezoids of these points do not add up
    to f(x) - f(x') either, and TV is at least the value that explains their gap.
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
    # The gap of the trapezoids is at most half of the widest step times TV.
    widest = max(after - place for place, after in pairwise(places))
    return 3 * math.pi / 2 * torch.maximum(variation, 2 * missed / widest) / steps


def _cause(
    total: Tensor,
    output: Tensor,
    reference: Tensor,
    zeros: Tensor | None,
    tolerance: Tensor,
) -> str:
    """Return the likely cause, from other expressions that the sums agree with."""
    if zeros is None:
        return ""
    gap = (total - (output - reference)).abs()
    beyond = gap > tolerance
    near = {
        "f(x) - f(0): the explainer seems to use a baseline of zeros instead of the subject's": (
            output - zeros
        ),
        "f(x): the explainer seems to leave out the baseline": output,
        "-(f(x) - f(x')): the sign, or the end points, seem to be swapped": reference - output,
    }
    for meaning, expected in near.items():
        # Compare with the gap, since the limit may be wider than the difference of two expressions.
        close = (total - expected).abs() <= gap / 10
        if (close & beyond).sum() > beyond.sum() / 2:
            return f"The sums agree with {meaning}."
    return (
        f"{_UNKNOWN} Known causes: absolute or normalised maps, or a rule that mishandles a module "
        "that is used twice, a max-pool after a ReLU, or a softmax."
    )
