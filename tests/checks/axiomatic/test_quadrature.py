"""The error of a correct integral that summation_to_delta allows a path method."""

import itertools

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.right import RULES, gradient, integrated_gradients, quadrature
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits

CHECK = "summation_to_delta"
# One open and one closed rule in every run, the others in the slow one.
A_FEW_RULES = [
    pytest.param(rule, marks=[] if rule in {"gauss", "left"} else pytest.mark.slow)
    for rule in RULES
]
# Where a function that divides by a norm may turn.
NEAR_THE_ENDS = [*(ends := (1e-6, 1e-4, 1e-3, 1e-2)), *(1 - end for end in ends)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "steps", [4, 8, 50, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (5, 16, 200))]
)
def test_every_right_integral_is_within_the_bound(rule, steps, finding, digits_double):
    few = slice(None) if steps < 50 else slice(8)
    subject = xai.Subject(
        digits_double.model,
        digits_double.inputs[few],
        digits_double.targets[few],
        baseline=digits_double.baseline,
    )
    found, _ = finding(CHECK, integrated_gradients(rule, steps), subject)
    assert (found.values <= found.limits).all()
    assert found.notes == (f"The limit includes the error of an integral with {steps} gradients.",)


@pytest.mark.parametrize("rule", A_FEW_RULES)
def test_every_right_integral_passes_from_other_baselines(rule, verdict, digits_double):
    for baseline in (0.0, 1.0):
        subject = xai.Subject(
            digits_double.model, digits_double.inputs, digits_double.targets, baseline=baseline
        )
        for steps in (4, 32):
            assert verdict(CHECK, integrated_gradients(rule, steps), subject).outcome == "passed"


@pytest.mark.parametrize("rule", A_FEW_RULES)
@pytest.mark.parametrize("baseline", [0.0, 1.0])
def test_four_steps_are_within_the_bound_on_every_image(rule, baseline):
    """The variation of some images lies between four points, where none of them sees it."""
    whole = load_digits().double()
    subject = xai.Subject(whole.model, whole.inputs, whole.targets, baseline=baseline)
    bench = xai.Bench(subject)
    found = xai.checks.get(CHECK).function(bench, named(integrated_gradients(rule, 4)))
    bench.close()
    assert len(found.values) == 360
    assert (found.values <= found.limits).all()


@pytest.mark.parametrize("steps, nodes", [(8, 16), (32, 32)])
def test_the_bound_is_three_times_that_of_the_variation_seen(steps, nodes, finding, digits_double):
    """Against the variation of the slope at the ends and the midpoints, written out."""
    ig = integrated_gradients("midpoint", steps)
    found, bench = finding(CHECK, ig, digits_double)
    delta = bench.inputs - bench.baseline
    slopes = [
        (gradient(bench.subject.model, bench.baseline + place * delta, bench.targets) * delta)
        .flatten(1)
        .sum(1)
        for place in sorted([0, *quadrature("midpoint", nodes)[0], *NEAR_THE_ENDS, 1])
    ]
    variation = sum((after - before).abs() for before, after in itertools.pairwise(slopes))
    bound = 3 * (torch.pi / 2) * variation / steps
    assert torch.allclose(found.limits, bound, rtol=1e-4, atol=1e-5)
    assert (found.limits >= bound).all()


def test_the_bound_shrinks_with_the_steps(finding, digits_double):
    limits = [
        finding(CHECK, integrated_gradients("gauss", steps), digits_double)[0].limits.mean()
        for steps in (8, 32, 64)
    ]
    assert limits[0] > 2 * limits[1]
    assert limits[1] > 1.5 * limits[2]


def test_a_smooth_integral_needs_no_bound(verdict):
    """Exact to rounding: the tolerance stays that of rounding."""
    subject = xai.Subject(models.Product(), torch.rand(32, 2).double())
    passed = verdict(CHECK, integrated_gradients("gauss", 4), subject)
    assert (passed.outcome, passed.reason) == ("passed", "")
    assert passed.limit < 1e-13


def test_what_is_no_path_has_no_bound(verdict, digits_double):
    ig = integrated_gradients("midpoint", 8)
    assert verdict(CHECK, ig, digits_double).outcome == "passed"
    other = xai.explainer(method="deep_lift_rescale", needs_baseline=True)(
        lambda *given, baseline: ig(*given, baseline=baseline)
    )
    assert verdict(CHECK, other, digits_double).outcome == "failed"


def test_three_gradients_are_no_path(verdict, digits_double):
    failed = verdict(CHECK, integrated_gradients("midpoint", 3), digits_double)
    assert failed.outcome == "failed"
    assert "The limit includes" not in failed.reason
