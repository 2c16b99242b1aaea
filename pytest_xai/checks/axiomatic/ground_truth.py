"""The map is the right one, where the right one is known in closed form."""

import math

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.checks.axiomatic._path_points import along_a_path
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Libraries round step sizes, coverages and regressions to float32 whatever the model's dtype.
_SINGLE = 8 * torch.finfo(torch.float32).eps
# Evaluations of the gradient per image from which an explainer is taken to integrate it.
_PATH = 4


@check(
    family="axiomatic",
    question="Is the map the one that is known to be right?",
    claim="On a probe network the map is the closed form of the method that the explainer names.",
    source="sundararajan2017",
    scope="probe",
    limit_source="Rounding, that of float32 included, which libraries have inside: "
    "8 eps (max|R| + max|truth| + |f(x)| + |f(x')|); for Integrated Gradients also three times the "
    "quadrature bound pi/2 TV/n of each feature.",
    cost=Cost(forward=2, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def ground_truth(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest error of the map, max|R - truth|."""
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
        notes = (f"The tolerance holds the error of an integral by {steps} gradients.",)
    broken = gap > tolerance
    return Finding(
        values=gap,
        limits=tolerance,
        facts={"largest of the map": _largest(maps), "largest of the truth": _largest(truth)},
        tensors={"input": bench.inputs, "map": maps, "truth": truth},
        notes=notes,
        cause=_cause(bench, explainer, maps, truth, broken) if broken.any() else "",
    )


def _truth(bench: Bench, explainer: NamedExplainer) -> Tensor:
    """The right maps of the bench's images, (n, ...), float64.

    Raises:
        NotApplicable: none is known.
    """
    method = explainer.traits.method
    if method is None:
        raise NotApplicable("the explainer names no method whose map is known")
    # What is drawn is right for itself only where every draw gives the same map.
    key = f"any draw of {method}" if explainer.traits.stochastic else method
    if key not in bench.subject.truths:
        raise NotApplicable(f"the subject has no closed form for {key}")
    return bench.subject.truths[key][bench.images].double()


def _same_form(maps: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """One of them has a value for each place, the other for each channel: both for each place.

    A map of places stands for all channels, so that what is compared is their sum.
    """
    return maps.sum(1, keepdim=True), truth.sum(1, keepdim=True)


def _largest(maps: Tensor) -> Tensor:
    return maps.abs().flatten(1).amax(1)


def _quadrature(bench: Bench, steps: int) -> Tensor:
    """Largest error of a feature's integral by n gradients, (n,).

    A quadrature rule is off by at most its constant times TV(g)/n, with g(a) = (x_i - x'_i) df/dx_i
    along the path; pi/2 is the largest constant (Gauss-Legendre). TV is estimated at both ends,
    near them and at n midpoints, 16 at the least, which see less than all of it: hence three times.
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
    """What else the wrong maps agree with."""
    bad, right = maps[broken], truth[broken]
    if not bad.any():
        return "The map is zero where the right one is not: a gradient that saturates, or is cut."
    if _agree(bad.relu(), right):
        return "The map is the right one before negative parts are dropped."
    for meaning, other in _relatives(bench, truth).items():
        if _agree(bad, other[broken]):
            return f"The map is {meaning}."
    alike = [
        name
        for name, other in bench.subject.truths.items()
        if other.shape == maps.shape and _agree(bad, other[bench.images][broken].double())
    ]
    if alike:
        return f"The map is the closed form of {', '.join(alike[:3])}."
    factor = _factor(bad, right)
    if factor is not None:
        return f"The map is the right one times {factor:.4g}."
    return (
        f"The map is not the closed form of {explainer.traits.method}, nor of its known relatives: "
        "a rule, a layer, a reference, a class or an image may be another."
    )


def _relatives(bench: Bench, truth: Tensor) -> dict[str, Tensor]:
    """Maps that wrong explainers have in place of the right one, by what they are."""
    found = {
        "the negative of the right one": -truth,
        "the absolute value of the right one": truth.abs(),
        "only the positive part of the right one": truth.relu(),
    }
    inputs = bench.inputs.double()
    if truth.shape != inputs.shape:
        return found
    delta = inputs - bench.baseline.double()
    without = torch.where(delta == 0, 0, truth / delta)
    found["the right one without the factor x - x'"] = without
    found["the right one with the factor x in place of x - x'"] = without * inputs
    if "gradient" in bench.subject.truths and bool(bench.baseline.any()):
        gradient = bench.subject.truths["gradient"][bench.images].double()
        found["the gradient at x times x - x'"] = gradient * delta
    return found


def _agree(maps: Tensor, other: Tensor) -> bool:
    """Whether they are nearly equal: closed forms that differ do so by more, integrals by less."""
    size = _largest(other)
    return bool((_largest(maps - other) <= 1e-3 * size).all() and (size > 0).any())


def _factor(maps: Tensor, truth: Tensor) -> float | None:
    """The one factor between all maps and the right ones, if there is one."""
    square = truth.square().sum()
    if square == 0:
        return None
    factor = float((maps * truth).sum() / square)
    return factor if _agree(maps, factor * truth) else None
