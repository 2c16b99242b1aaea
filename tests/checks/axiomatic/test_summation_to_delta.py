"""The attributions add up to f(x) - f(x')."""

import itertools

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import (
    RULES,
    gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    quadrature,
)
from fixtures.wrong.axioms import AXIOMS, lrp_epsilon
from pytest_xai import explainers
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits

CHECK = "summation_to_delta"
PATHS = [name for name, wrong in AXIOMS.items() if wrong.check == CHECK]


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "one_logit", "scalar"])
def test_right_explainers_pass(subject, verdict, request):
    subject = request.getfixturevalue(subject)
    passed = verdict(CHECK, integrated_gradients("gauss", 64), subject)
    assert passed.outcome == "passed"
    assert passed.images == 32


# ------------------------------------------------------------------------------------- closed forms


@pytest.fixture
def affine():
    """A linear model, its weight, bias and inputs."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    bias = torch.randn(3, generator=generator, dtype=torch.float64)
    inputs = torch.randn(32, 6, generator=generator, dtype=torch.float64)
    baseline = torch.randn(32, 6, generator=generator, dtype=torch.float64)
    return weight, bias, xai.Subject(models.linear(weight, bias), inputs, baseline=baseline)


def test_sums_of_a_linear_model(affine, finding):
    """R = w (x - x') + 0.01: six features, so that the gap is 0.06."""
    weight, bias, subject = affine

    @xai.explainer(needs_baseline=True)
    def explain(model, inputs, targets, baseline):
        return weight[targets] * (inputs - baseline) + 0.01

    found, bench = finding(CHECK, explain, subject)
    own, offset = weight[bench.targets], bias[bench.targets]
    at, reference = (own * bench.inputs).sum(1) + offset, (own * bench.baseline).sum(1) + offset
    maps = own * (bench.inputs - bench.baseline) + 0.01
    size = maps.abs().sum(1) + at.abs() + reference.abs()
    # One layer, fan-in 6.
    tolerance = 8 * torch.finfo(torch.float64).eps * 6**0.5 * size
    expected = {
        "sum": at - reference + 0.06,
        "f(x)": at,
        "f(x')": reference,
        "gap": torch.full((32,), 0.06, dtype=torch.float64),
        "tolerance": tolerance,
    }
    assert list(found.facts) == list(expected)
    for name, values in expected.items():
        assert torch.allclose(found.facts[name], values, rtol=1e-9, atol=0), name
    assert torch.equal(found.values, found.facts["gap"])
    assert torch.equal(found.limits, found.facts["tolerance"])
    assert found.notes == ()


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (3.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, affine, verdict):
    weight, bias, subject = affine
    unit = 8 * torch.finfo(torch.float64).eps * 6**0.5

    @xai.explainer(needs_baseline=True)
    def explain(model, inputs, targets, baseline):
        maps = weight[targets] * (inputs - baseline)
        size = maps.abs().sum(1) + sum(
            ((weight[targets] * given).sum(1) + bias[targets]).abs() for given in (inputs, baseline)
        )
        maps[:, 0] += share * unit * size
        return maps

    assert verdict(CHECK, explain, subject).outcome == outcome


@pytest.mark.parametrize("target, expected", [(0, (3, 3)), (1, (8, 4)), (2, (2, -3))])
def test_integrated_gradients_of_products(target, expected, finding):
    """Reference E.1: x1 x2, x1^2 x2 and x1 - x2 at (2, 3)."""
    subject = xai.Subject(models.Product(), torch.tensor([[2.0, 3.0]] * 32).double(), target)
    ig = integrated_gradients("gauss", 4)
    found, bench = finding(CHECK, ig, subject)
    maps = ig(subject.model, bench.inputs, bench.targets, baseline=torch.zeros(1, 2).double())
    assert torch.allclose(maps, torch.tensor(expected).double())
    assert torch.allclose(found.facts["sum"], torch.tensor(sum(expected)).double())
    assert (found.values <= found.limits).all()
    assert (found.values < 1e-14).all()


@pytest.mark.parametrize("explainer", [input_x_gradient, occlusion], ids=["product", "occlusion"])
def test_both_factors_get_all_of_a_product(explainer, verdict):
    """(6, 6) of 6 = 2 x 3: the gap is 6."""
    subject = xai.Subject(models.Product(), torch.tensor([[2.0, 3.0]] * 32).double(), 0)
    failed = verdict(CHECK, explainer, subject)
    assert (failed.outcome, failed.figure) == ("failed", 6)
    assert failed.counterexample["facts"]["sum"] == 12


def test_of_a_single_output_and_a_baseline_for_all(finding):
    weight = torch.tensor([[1.0, -2.0, 0.5]]).double()
    subject = xai.Subject(models.linear(weight), torch.rand(32, 3).double(), baseline=0.5)
    found, _ = finding(CHECK, input_x_gradient, subject)
    assert torch.allclose(found.values, torch.tensor(0.25).double())
    assert torch.allclose(found.facts["f(x')"], torch.tensor(-0.25).double())


def test_deep_lift_by_hand_passes_without_a_path(verdict):
    """Rescale at one hidden layer is complete to rounding, with two backward passes."""
    model = models.chain(5, 7, 3)

    @xai.explainer(needs_baseline=True)
    def rescale(_, inputs, targets, baseline):
        at, reference = model[0](inputs), model[0](baseline)
        multiplier = (at.relu() - reference.relu()) / (at - reference)
        maps = (inputs - baseline) * ((multiplier * model[2].weight[targets]) @ model[0].weight)
        return maps.detach()

    inputs, baseline = torch.randn(2, 32, 5).double()
    passed = verdict(CHECK, rescale, xai.Subject(model, inputs, baseline=baseline))
    assert (passed.outcome, passed.reason) == ("passed", "")
    assert passed.figure < 1e-14


# --------------------------------------------------------------------------------------- quadrature


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [4, 5, 8, 16, 50, 200])
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
    assert found.notes == (f"The tolerance holds the error of an integral by {steps} gradients.",)


@pytest.mark.parametrize("rule", RULES)
def test_every_right_integral_passes_from_other_baselines(rule, verdict, digits_double):
    for baseline in (0.0, 1.0):
        subject = xai.Subject(
            digits_double.model, digits_double.inputs, digits_double.targets, baseline=baseline
        )
        for steps in (4, 32):
            assert verdict(CHECK, integrated_gradients(rule, steps), subject).outcome == "passed"


@pytest.mark.parametrize("rule", RULES)
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
        for place in [0, *quadrature("midpoint", nodes)[0], 1]
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
    assert "The tolerance holds" not in failed.reason


# -------------------------------------------------------------------------------- causes and scales


@pytest.mark.parametrize("name", PATHS)
def test_wrong_integrals_fail_on_a_tiny_model_too(name, verdict, table):
    failed = verdict(CHECK, AXIOMS[name].explainer, table)
    assert failed.outcome == "failed"
    if name in {"ignores the baseline", "swaps the ends of the path"}:
        assert AXIOMS[name].says in failed.reason


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.5, 3.0])
def test_a_baseline_that_is_zero_is_not_said_to_be_ignored(factor, verdict):
    model = models.chain(5, 8, 3)
    subject = xai.Subject(model, torch.rand(32, 5).double())
    ig = integrated_gradients("gauss", 64)

    @xai.explainer(needs_baseline=True)
    def explain(*given, baseline):
        return factor * ig(*given, baseline=baseline)

    failed = verdict(CHECK, explain, subject)
    assert failed.outcome == "failed"
    assert failed.reason.startswith("The sum is not f(x) - f(x'). Known causes:")


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_scale_of_the_output_does_not_matter(scale, verdict):
    """Neither for a right integral with float32 step sizes nor for a wrong one."""
    layer = nn.Linear(6, 3).double().eval()
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.bias.mul_(scale)
    inputs, baseline = torch.randn(2, 16, 6).double()
    subject = xai.Subject(layer, inputs, baseline=baseline)
    right = explainers.get("captum:IntegratedGradients")
    assert verdict(CHECK, right, subject).outcome == "passed"

    @xai.explainer(needs_baseline=True)
    def twice(*given, baseline):
        return 2 * right.call(*given, baseline=baseline)

    assert verdict(CHECK, twice, subject).outcome == "failed"


def test_rounding_of_float32_is_decided_in_float64(verdict, digits):
    def explain(model, inputs, targets, baseline, spoilt):
        maps = ig(model, inputs, targets, baseline=baseline)
        return maps + (0.1 if inputs.dtype in spoilt else 0)

    ig = integrated_gradients("gauss", 16)
    spoilt = xai.explainer(needs_baseline=True)(
        lambda *given, baseline: explain(*given, baseline, {torch.float32})
    )
    passed = verdict(CHECK, spoilt, digits)
    assert passed.outcome == "passed"
    assert "Decided in float64: the float32 difference is rounding." in passed.reason
    wrong = xai.explainer(needs_baseline=True)(
        lambda *given, baseline: explain(*given, baseline, {torch.float32, torch.float64})
    )
    failed = verdict(CHECK, wrong, digits)
    assert failed.outcome == "failed"
    assert "Confirmed in float64." in failed.reason


def test_the_counterexample_is_the_worst_image(verdict, affine):
    weight, _, subject = affine
    last = subject.inputs[17]

    @xai.explainer(needs_baseline=True)
    def explain(model, inputs, targets, baseline):
        maps = weight[targets] * (inputs - baseline)
        maps[(inputs == last).all(1)] += 1
        return maps

    failed = verdict(CHECK, explain, subject)
    assert failed.counterexample["image"] == 17
    assert failed.counterexample["figure"] == pytest.approx(6)
    assert failed.counterexample["limit"] == failed.limit
    assert torch.equal(failed.tensors["input"], last)
    own = weight[subject.targets[17]]
    assert torch.allclose(failed.tensors["map"], own * (last - subject.baseline[17]) + 1)


# ------------------------------------------------------------------------------------------- captum


@pytest.mark.parametrize("steps", [50, 64, 100])
def test_integrated_gradients_of_captum_pass(steps, verdict, digits):
    ig = explainers.get("captum:IntegratedGradients", steps=steps)
    assert verdict(CHECK, ig, digits).outcome == "passed"


def test_deep_lift_of_captum_fails_on_relu_before_max_pool(verdict, digits):
    failed = verdict(CHECK, explainers.get("captum:DeepLift"), digits)
    assert failed.outcome == "failed"
    assert failed.figure > 1
    assert "a max-pool behind a ReLU" in failed.reason
    assert "Confirmed in float64." in failed.reason


def test_deep_lift_of_captum_is_refused_on_a_shared_relu(verdict):
    subject = xai.Subject(models.shared_relu(), torch.rand(8, 5).double(), baseline=0.5)
    refused = verdict(CHECK, explainers.get("captum:DeepLift"), subject)
    assert refused.outcome == "error"
    assert "more than once" in refused.reason


def test_deep_lift_of_captum_passes_on_a_chain(verdict, table):
    assert verdict(CHECK, explainers.get("captum:DeepLift"), table).outcome == "passed"


def test_lrp_adds_up_from_a_zero_baseline_without_biases(verdict):
    model = models.chain(5, 8, 6, 3)
    for layer in (model[0], model[2], model[4]):
        nn.init.zeros_(layer.bias)
    inputs = torch.randn(32, 5).double()
    assert verdict(CHECK, lrp_epsilon(0.0), xai.Subject(model, inputs)).outcome == "passed"
    biased = xai.Subject(models.chain(5, 8, 6, 3), inputs)
    assert verdict(CHECK, lrp_epsilon(0.0), biased).outcome == "failed"
