"""Interchangeable features get the same attribution."""

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import gradient, input_x_gradient, integrated_gradients, occlusion
from pytest_xai import explainers

CHECK = "symmetry"
SUBJECTS = ["digits", "normed", "table", "signal", "scalar"]


@pytest.mark.parametrize(
    "explainer",
    [gradient, input_x_gradient, integrated_gradients(steps=4), occlusion],
    ids=["gradient", "product", "ig", "occlusion"],
)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.images) == ("passed", 32)
    assert passed.figure < 1e-6


@pytest.mark.parametrize("subject", SUBJECTS)
def test_network_input_and_baseline_are_symmetric(subject, recorder, finding, request):
    subject = request.getfixturevalue(subject)
    asked = recorder(integrated_gradients(steps=1), needs_baseline=True)
    _, bench = finding(CHECK, asked, subject)
    (model,), (inputs,), (baseline,) = asked.models, asked.inputs, asked.baselines
    assert torch.equal(inputs, (bench.inputs + bench.inputs.flip(-1)) / 2)
    assert torch.equal(baseline, (bench.baseline + bench.baseline.flip(-1)) / 2)
    noise = torch.randn_like(inputs)
    assert torch.equal(model(noise), model(noise.flip(-1)))
    assert torch.equal(model(inputs), subject.model(inputs))
    assert not torch.equal(model(noise), subject.model(noise))


def test_the_figure_is_the_difference_to_the_mirror_image(finding, table):
    def explain(model, inputs, targets):
        maps = torch.ones_like(inputs)
        maps[:, 0], maps[:, -1] = -4, 1
        return maps

    found, bench = finding(CHECK, explain, table)
    assert torch.allclose(found.values, torch.tensor(5 / 4).double())
    assert torch.equal(found.limits, bench.rounding_of(torch.full((32, 1), 4.0)))
    assert (found.facts["largest attribution"] == 4).all()


def test_the_order_of_features_is_seen_where_they_act_together(verdict, finding):
    """x1 x2 at (a, a) from 0: in order (0, a^2), by symmetry half for each."""
    one_by_one = WRONG["adds features in reading order"].explainer
    subject = xai.Subject(models.Product(), torch.rand(32, 2).double(), torch.zeros(32).long())
    found, _ = finding(CHECK, one_by_one, subject)
    # After the mean: ((a + 0)/2)^2 comes first, the rest of a^2 second: a quarter, three quarters.
    assert torch.allclose(found.values, torch.tensor(2 / 3).double())
    assert verdict(CHECK, one_by_one, subject).outcome == "failed"
    assert verdict(CHECK, integrated_gradients("gauss", 2), subject).outcome == "passed"


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (30.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict, table):
    unit = 8 * torch.finfo(torch.float64).eps * (3 * 20) ** 0.5

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        maps[:, -1] += share * unit * maps.abs().amax(1)
        return maps

    assert verdict(CHECK, explain, table).outcome == outcome


def test_a_difference_of_float32_is_decided_in_float64(verdict, digits):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps.roll(1, -1) if maps.dtype == torch.float32 else maps

    passed = verdict(CHECK, explain, digits)
    assert passed.outcome == "passed"
    assert "Decided in float64" in passed.reason


def test_zero_maps_do_not_count(verdict, digits):
    zero = verdict(CHECK, lambda model, inputs, targets: 0 * inputs, digits)
    assert zero.outcome == "undecided"
    assert "32 images left out: zero maps." in zero.reason


def test_a_single_column_has_no_mirror_image(verdict):
    subject = xai.Subject(models.chain(1, 3, 2), torch.rand(32, 1).double())
    nothing = verdict(CHECK, gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "inputs with a single column have no mirror image"


@pytest.mark.parametrize(
    "spec, outcome",
    [
        ("captum:Saliency", "passed"),
        ("captum:DeepLift", "passed"),
        ("captum:GuidedBackprop", "passed"),
        ("zennit:LRPZero", "passed"),
        ("xai:DeepLiftRescale", "passed"),
        ("captum:LayerGradCam", "failed"),
        ("captum:LRP", "not_applicable"),
    ],
)
def test_methods_of_the_gallery(spec, outcome, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == outcome
