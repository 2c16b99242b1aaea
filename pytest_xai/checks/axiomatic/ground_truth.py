"""The map equals the correct one where that is known in closed form."""

import math

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.checks.axiomatic._path_points import along_a_path
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Libraries compute step sizes, coverages and regressions in float32, whatever the model's dtype.
_SINGLE = 8 * torch.finfo(torch.float32).eps
# With this many gradient evaluations per image, an explainer is assumed to integrate.
_PATH = 4


@check(
    family="axiomatic",
    question="Does the map equal the known correct one?",
    claim="On a probe network the map equals the closed form of the method that the explainer "
    "names.",
    source="sundararajan2017",
    figure="largest absolute error of the map",
    scope="probe",
    limit_source="The rounding error of float32, which libraries use internally: "
    "8 eps (max|R| + max|truth| + |f(x)| + |f(x')|). For Integrated Gradients three times the "
    "quadrature bound pi/2 TV/n of each feature is added.",
    cost=Cost(forward=2, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def ground_truth(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest absolute error of the map, max|R - truth|."""
    truth = _truth(bench, explainer)
    before = bench.counter.spent
    maps = bench.explain(explainer, bench.inputs).double()
    steps = (bench.counter.spent - before).backward // len(bench)
    if maps.shape != truth.shape:
        maps, truth = _same_form(maps, truth)
    gap = _largest(maps - truth)
    size = _largest(maps) + _largest(truth)
    size = size + bench.scores().double().abs() + bench.baseline_scores().double().abs()
    tolerance = max(_SINGLE, bench.rounding) * size
    notes: tuple[str, ...] = ()
    integral = explainer.traits.method == "integrated_gradients" and steps >= _PATH
    if integral and (gap > tolerance).any():
        tolerance = tolerance + _quadrature(bench, steps)
        notes = (f"The limit includes the error of an integral with {steps} gradients.",)
    broken = gap > tolerance
    return Finding(
        values=gap,
        limits=tolerance,
        facts={"largest value of the map": _largest(maps), "largest true value": _largest(truth)},
        tensors={"input": bench.inputs, "map": maps, "truth": truth},
        notes=notes,
        cause=_cause(bench, explainer, maps, truth, broken) if broken.any() else "",
    )


def _truth(bench: Bench, explainer: NamedExplainer) -> Tensor:
    """Return the correct maps of the bench's images, (n, ...), float64.

    Raises:
        NotApplicable: no correct map is known.
    """
    method = explainer.traits.method
    if method is None:
        raise NotApplicable("the explainer names no method with a known closed form")
    # A stochastic explainer has a known map only where every draw gives the same map.
    key = f"any draw of {method}" if explainer.traits.stochastic else method
    if key not in bench.subject.truths:
        raise NotApplicable(f"the subject has no closed form for {key}")
    return bench.subject.truths[key][bench.images].double()


def _same_form(maps: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps with one value per position, where only one of them has channels.

    A map without channels stands for all of them, so that sums over the channels are compared.
    """
    return maps.sum(1, keepdim=True), truth.sum(1, keepdim=True)


def _largest(maps: Tensor) -> Tensor:
    return maps.abs().flatten(1).amax(1)


def _quadrature(bench: Bench, steps: int) -> Tensor:
    """Return the largest error of a feature's integral with the given number of gradients, (n,).

    The error of a quadrature rule is at most its constant times TV(g)/n, where g(a) is
    (x_i - x'_i) df/dx_i along the path, and pi/2 is the largest constant (Gauss-Legendre). TV is
    estimated at both ends, near them and at n or at least 16 midpoints. The estimate is too small
    in general, hence the factor of three.
    """
    inputs, baseline = bench.inputs, bench.baseline
    delta = (inputs - baseline).double()
    variation, last = torch.zeros_like(delta), None
    for place in along_a_path(steps):
        point = baseline + place * (inputs - baseline)
        slope = bench.gradients(point, bench.targets).double() * delta
        if last is not None:
            variation += (slope - last).abs()
        last = slope
    return 3 * math.pi / 2 * _largest(variation) / steps


def _cause(
    bench: Bench, explainer: NamedExplainer, maps: Tensor, truth: Tensor, broken: Tensor
) -> str:
    """Return the likely cause, from other known maps that the wrong maps agree with."""
    bad, right = maps[broken], truth[broken]
    if not bad.any():
        return "The map is zero where the correct one is not: the gradient saturates or is cut."
    if _agree(bad.relu(), right):
        return "The map is the correct one before its negative values are set to zero."
    for meaning, other in _variants(bench, truth).items():
        if _agree(bad, other[broken]):
            return f"The map is {meaning}."
    matching = [
        name
        for name, other in bench.subject.truths.items()
        if other.shape == maps.shape and _agree(bad, other[bench.images][broken].double())
    ]
    if matching:
        return f"The map is the closed form of {', '.join(matching[:3])}."
    factor = _factor(bad, right)
    if factor is not None:
        return f"The map is the correct one times {factor:.4g}."
    return (
        f"The map is neither the closed form of {explainer.traits.method} nor a known variant of "
        "it: a wrong rule, layer, baseline, class or image may be the cause."
    )


def _variants(bench: Bench, truth: Tensor) -> dict[str, Tensor]:
    """Return known wrong variants of the correct map, by description."""
    found = {
        "the negative of the correct one": -truth,
        "the absolute value of the correct one": truth.abs(),
        "only the positive part of the correct one": truth.relu(),
    }
    inputs = bench.inputs.double()
    if truth.shape != inputs.shape:
        return found
    delta = inputs - bench.baseline.double()
    without = torch.where(delta == 0, 0, truth / delta)
    found["the correct one without the factor x - x'"] = without
    found["the correct one with the factor x instead of x - x'"] = without * inputs
    if "gradient" in bench.subject.truths and bool(bench.baseline.any()):
        gradient = bench.subject.truths["gradient"][bench.images].double()
        found["the gradient at x times x - x'"] = gradient * delta
    return found


def _agree(maps: Tensor, other: Tensor) -> bool:
    """Return whether the maps agree to 0.1 percent: different closed forms differ by more."""
    size = _largest(other)
    return bool((_largest(maps - other) <= 1e-3 * size).all() and (size > 0).any())


def _factor(maps: Tensor, truth: Tensor) -> float | None:
    """Return the common factor between the maps and the correct ones, or None."""
    square = truth.square().sum()
    if square == 0:
        return None
    factor = float((maps * truth).sum() / square)
    return factor if _agree(maps, factor * truth) else None
