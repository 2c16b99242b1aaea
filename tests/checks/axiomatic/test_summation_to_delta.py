"""The attributions add up to f(x) - f(x')."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import (
    input_x_gradient,
    integrated_gradients,
    occlusion,
)
from fixtures.wrong.sums import lrp_epsilon
from pytest_xai import explainers
from pytest_xai.checks.axiomatic import summation_to_delta

CHECK = "summation_to_delta"
# One defect is in a module that digits has.
PATHS = [name for name, wrong in WRONG.items() if wrong.check == CHECK and "max-pool" not in name]


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


# -------------------------------------------------------------------------------- causes and scales


@pytest.mark.parametrize("name", PATHS)
def test_wrong_integrals_fail_on_a_tiny_model_too(name, verdict, table):
    failed = verdict(CHECK, WRONG[name].explainer, table)
    assert failed.outcome == "failed"
    if name in {"ignores the baseline", "swaps the ends of the path"}:
        assert WRONG[name].says in failed.reason


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
    assert "a max-pool after a ReLU" in failed.reason
    assert "Confirmed in float64." in failed.reason


def test_deep_lift_of_captum_is_refused_on_a_shared_relu(verdict):
    subject = xai.Subject(models.shared_relu(), torch.rand(8, 5).double(), baseline=0.5)
    refused = verdict(CHECK, explainers.get("captum:DeepLift"), subject)
    assert refused.outcome == "not_applicable"
    assert "twice" in refused.reason


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


def test_a_peak_of_the_slope_between_all_places_is_no_defect(verdict):
    """Of two values a normalisation leaves the sign of their difference, which turns at a point."""
    inputs = torch.tensor([[2.0, -2.0, -1.0, 1.0]])
    baseline = torch.tensor([[0.0, 0.5, -2.0, 0.5]])
    target = torch.tensor([0])
    explainer = explainers.get("captum:IntegratedGradients", steps=20)
    subject = xai.Subject(torch.nn.GroupNorm(2, 4).eval(), inputs, target, baseline=baseline)
    found = verdict("summation_to_delta", explainer, subject)
    assert found.outcome == "passed"
    assert found.figure > 1.9
    # Its own places see the slope of a network without such a point, and nothing is given away.
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()).double().eval()
    subject = xai.Subject(model, inputs.double(), target, baseline=baseline.double())
    assert verdict("summation_to_delta", explainer, subject).limit < 0.5


def test_what_is_stored_is_rounded_by_being_stored(finding):
    """Half precision rounds each value by up to 2^-11 of it."""
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double()
    inputs = torch.rand(4, 2).double()
    targets = torch.zeros(4).long()
    maps = (weight[0] * inputs).half()
    stored = explainers.from_maps(maps, sums_to="delta")
    found, bench = finding(CHECK, stored, xai.Subject(models.linear(weight), inputs, targets))
    added = maps.double().abs().sum(1)[bench.images]
    size = added + bench.scores().abs()
    assert torch.allclose(found.limits, bench.rounding * size + 2**-11 * added, rtol=1e-12, atol=0)


@pytest.mark.parametrize("off, near", [(0.105, True), (0.115, False)])
def test_another_meaning_is_nearer_than_a_tenth_of_the_gap(off, near):
    """The sums are f(x) = 10 but for a little, where f(x') is 1."""
    output, reference = torch.full((3,), 10.0).double(), torch.ones(3).double()
    total, zeros = output + off, torch.full((3,), 5.0).double()
    said = summation_to_delta._cause(total, output, reference, zeros, torch.zeros(3).double())
    assert said.startswith("The sums agree with f(x):") == near


class Step(nn.Module):
    """A jump of 1 that no slope shows."""

    def forward(self, inputs):
        jump = (inputs.detach() > 0.51).to(inputs)
        return torch.cat([jump + 0 * inputs, 0 * inputs], 1)


def test_what_no_place_sees_is_at_least_twice_what_they_miss_over_the_widest_gap():
    """Of 16 midpoints, both ends and places near them, the widest gap is a sixteenth."""
    subject = xai.Subject(Step(), torch.ones(2, 1).double(), torch.zeros(2).long())
    bench = xai.Bench(subject)
    bound = summation_to_delta._quadrature(bench, 16)
    bench.close()
    assert bound == pytest.approx(torch.full((2,), 3 * torch.pi / 2 * (2 / (1 / 16)) / 16).double())
