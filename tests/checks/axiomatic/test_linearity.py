"""The map of a weighted sum of two outputs is the weighted sum of their maps."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.loops import crossed
from fixtures.right import gradient, input_x_gradient, integrated_gradients, occlusion
from fixtures.wrong.sums import lrp_epsilon
from pytest_xai import explainers

CHECK = "linearity"


@pytest.fixture
def linear():
    """A linear model of four classes and its weight: the maps of the gradient are its rows."""
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    inputs = torch.rand(32, 6, generator=generator, dtype=torch.float64)
    targets = torch.arange(32) % 4
    return xai.Subject(models.linear(weight), inputs, targets), weight


@pytest.mark.parametrize(
    *crossed(
        [gradient, integrated_gradients(steps=4), occlusion, lrp_epsilon(0.0)],
        ["gradient", "ig", "occlusion", "lrp_0"],
        subjects=["digits", "normed", "table", "signal", "one_logit", "scalar"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.images == 32


def test_what_is_explained_is_two_times_the_own_output_less_half_the_next(
    recorder, finding, linear
):
    subject, weight = linear
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, subject)
    own, following = bench.targets, (bench.targets + 1) % 4
    assert [targets.tolist() for targets in asked.targets] == [
        own.tolist(),
        own.tolist(),
        following.tolist(),
    ]
    assert all(torch.equal(inputs, bench.inputs) for inputs in asked.inputs)
    mixed, itself, again = asked.models
    assert itself is again is subject.model
    logits = bench.inputs @ weight.T
    assert torch.allclose(mixed(bench.inputs), 2 * logits - logits.roll(-1, 1) / 2)
    assert isinstance(mixed.after, nn.Linear)  # a layer that rules for linear layers know
    assert torch.allclose(asked.maps[0], bench.inputs * (2 * weight[own] - weight[following] / 2))
    assert (found.values < 1e-15).all()


@pytest.mark.parametrize(
    "change",
    [torch.abs, torch.relu, torch.square, lambda maps: maps / maps.abs().amax(1, keepdim=True)],
    ids=["absolute", "rectified", "squared", "normalised"],
)
def test_the_figure_is_the_difference_over_the_largest_value_added(change, finding, linear):
    """By hand, from the rows of the weight."""
    subject, weight = linear

    def explain(model, inputs, targets):
        return change(gradient(model, inputs, targets))

    found, bench = finding(CHECK, explain, subject)
    own, other = weight[bench.targets], weight[(bench.targets + 1) % 4]
    apart = 2 * change(own) - change(other) / 2
    difference = (change(2 * own - other / 2) - apart).abs().amax(1)
    added = torch.maximum(2 * change(own).abs().amax(1), change(other).abs().amax(1) / 2)
    assert torch.allclose(found.facts["largest difference"], difference)
    assert torch.allclose(found.facts["largest value added"], added)
    assert torch.allclose(found.values, difference / added)
    assert (found.values > found.limits).any()


def test_a_single_output_is_scaled(finding, verdict, one_logit):
    """By 3/2, which a normalised map does not follow: 1/2 is missing of the 2 that were added."""

    def normalised(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps / maps.abs().amax(1, keepdim=True)

    found, _ = finding(CHECK, normalised, one_logit)
    assert torch.allclose(found.values, torch.tensor(0.25).double())
    # An absolute value is linear under a positive factor.
    absolute = verdict(CHECK, lambda *given: gradient(*given).abs(), one_logit)
    assert absolute.outcome == "passed"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_without_parameters(dtype, verdict):
    subject = xai.Subject(models.Product(), torch.rand(32, 2, dtype=dtype))
    assert verdict(CHECK, gradient, subject).outcome == "passed"

    def absolute(model, inputs, targets):
        return gradient(model, inputs, targets).abs() - 1

    failed = verdict(CHECK, absolute, subject)
    assert failed.outcome == "failed"
    assert "could not be decided" not in failed.reason


@pytest.mark.parametrize("jump, outcome", [(0.01, "passed"), (1e-6, "failed")])
def test_a_map_that_rounding_of_the_input_moves_may_differ_by_that(jump, outcome, verdict, linear):
    """By a thousandth on the mixed network, and by the jump where a bit of the input differs."""
    subject, _ = linear

    def explain(model, inputs, targets):
        own = torch.isin(inputs[:, :1], subject.inputs[:, :1])
        factor = torch.where(own, 1.0, 1 + jump) if model is subject.model else 1.001
        return factor * gradient(model, inputs, targets)

    assert verdict(CHECK, explain, subject).outcome == outcome


def test_a_zero_map_adds_nothing_and_does_not_count(verdict, linear):
    subject, _ = linear
    zero = verdict(CHECK, lambda model, inputs, targets: 0 * inputs, subject)
    assert zero.outcome == "undecided"
    assert zero.reason == "No image could be judged. 32 images left out: zero maps."


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (30.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict, linear):
    subject, _ = linear
    unit = 8 * torch.finfo(torch.float64).eps * 6**0.5

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps * (1 + share * unit) if model is not subject.model else maps

    assert verdict(CHECK, explain, subject).outcome == outcome


def test_a_difference_of_float32_is_decided_in_float64(verdict, digits):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps.abs() if maps.dtype == torch.float32 else maps

    passed = verdict(CHECK, explain, digits)
    assert passed.outcome == "passed"
    assert "Decided in float64" in passed.reason


def test_nothing_is_drawn_from_the_callers_generators(verdict, digits):
    state = torch.get_rng_state()
    verdict(CHECK, gradient, digits)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "spec, outcome",
    [
        ("captum:IntegratedGradients", "passed"),
        ("captum:DeepLift", "passed"),
        ("captum:Occlusion", "passed"),
        ("captum:GuidedBackprop", "failed"),
        ("captum:Deconvolution", "failed"),
        ("captum:LayerGradCam", "failed"),
    ],
)
def test_methods_of_captum(spec, outcome, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == outcome


def test_a_mix_of_exactly_zero_says_nothing_of_rules_that_share_it_out(verdict):
    """f = (1, 4) at the first image: 2 f_0 - f_1 / 2 = 0 starts LRP-0 with nothing."""
    weight = torch.tensor([[1.0, 0.0], [0.0, 4.0]]).double()
    inputs = torch.tensor([[1.0, 1.0], [2.0, 1.0]]).double()
    subject = xai.Subject(models.linear(weight), inputs, torch.tensor([0, 0]))
    passed = verdict(CHECK, explainers.get("zennit:LRPZero"), subject)
    assert (passed.outcome, passed.images) == ("passed", 1)
    assert "1 image left out: a layer's value is exactly zero" in passed.reason
