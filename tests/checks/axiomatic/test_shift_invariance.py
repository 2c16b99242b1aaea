"""A constant that is added to the inputs, and that the network takes away, leaves the map."""

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import (
    gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai import explainers
from pytest_xai.checks.axiomatic import shift_invariance

CHECK = "shift_invariance"
SUBJECTS = ["digits", "normed", "table", "signal", "scalar"]


@pytest.mark.parametrize(
    "explainer",
    [gradient, integrated_gradients(steps=4), occlusion, smooth_gradient],
    ids=["gradient", "ig", "occlusion", "smooth"],
)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.images) == ("passed", 32)
    assert passed.figure < 1e-5


@pytest.mark.parametrize("subject", SUBJECTS)
def test_both_networks_compute_with_the_same_numbers(subject, recorder, finding, request):
    """Bit for bit: with a sum that is rounded, units near zero would switch."""
    subject = request.getfixturevalue(subject)
    asked = recorder(integrated_gradients(steps=1), needs_baseline=True)
    found, bench = finding(CHECK, asked, subject)
    (model, other), (inputs, moved) = asked.models, asked.inputs
    baseline, moved_baseline = asked.baselines
    by = float(found.notes[0].removeprefix("Shifted by ").removesuffix("."))
    size = max(bench.subject.inputs.abs().max(), bench.subject.baseline.abs().max())
    assert 2 * size <= by <= 4 * size
    assert torch.equal(moved - by, inputs)
    assert torch.equal(moved_baseline - by, baseline)
    eps = torch.finfo(inputs.dtype).eps
    assert torch.allclose(inputs, bench.inputs, rtol=0, atol=by * eps)
    assert torch.allclose(baseline, bench.baseline, rtol=0, atol=by * eps)
    assert model is subject.model
    assert torch.equal(other(moved), model(inputs))


def test_the_figure_of_the_product_with_the_input_by_hand(finding):
    """A linear model: x w and (x + s) w differ by s w, of at most (x + s) w."""
    weight = torch.tensor([[1.0, -2.0, 3.0]]).double()
    inputs = torch.rand(32, 3, generator=torch.Generator().manual_seed(0)).double()
    found, bench = finding(CHECK, input_x_gradient, xai.Subject(models.linear(weight), inputs))
    assert found.notes == ("Shifted by 2.",)
    largest = ((bench.inputs + 2) * weight).abs().amax(1)
    assert torch.allclose(found.values, (2 * weight).abs().max() / largest)


def test_the_baseline_has_to_be_shifted_along(verdict, finding, table):
    failed = verdict(CHECK, WRONG["integrates from black"].explainer, table)
    assert failed.outcome == "failed"
    assert failed.figure > 0.3
    assert "a baseline of its own" in failed.reason


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (30.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict, table):
    unit = 8 * torch.finfo(torch.float64).eps * (3 * 20) ** 0.5

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps if model is table.model else maps * (1 + share * unit)

    assert verdict(CHECK, explain, table).outcome == outcome


def test_a_difference_of_float32_is_decided_in_float64(verdict, digits):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return inputs * maps if maps.dtype == torch.float32 else maps

    passed = verdict(CHECK, explain, digits)
    assert passed.outcome == "passed"
    assert "Decided in float64" in passed.reason


def test_inputs_of_zeros_and_zero_maps(verdict):
    subject = xai.Subject(models.chain(4, 5, 3), torch.zeros(32, 4).double())
    assert verdict(CHECK, gradient, subject).outcome == "passed"
    zero = verdict(CHECK, lambda model, inputs, targets: 0 * inputs, subject)
    assert zero.outcome == "undecided"
    assert "32 images left out: zero maps." in zero.reason


@pytest.mark.parametrize(
    "spec, outcome",
    [
        ("captum:DeepLift", "passed"),
        ("captum:GuidedBackprop", "passed"),
        ("captum:LayerGradCam", "passed"),
        ("xai:FEM", "passed"),
        ("captum:InputXGradient", "failed"),
        ("zennit:LRPZero", "failed"),
    ],
)
def test_methods_of_the_gallery(spec, outcome, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == outcome


@pytest.mark.parametrize(
    "inputs, baseline, by", [(-5.0, 3.0, 16), (1.0, -2.5, 8), (0.0, 0.0, 1), (0.1, 0.0, 0.25)]
)
def test_the_shift_is_a_power_of_two_of_twice_the_largest_size_or_more(inputs, baseline, by):
    subject = xai.Subject(
        models.chain(2, 2), torch.full((1, 2), inputs).double(), baseline=baseline
    )
    bench = xai.Bench(subject)
    assert shift_invariance._constant(bench) == by
    bench.close()
