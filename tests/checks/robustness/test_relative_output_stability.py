"""The map changes no more than the outputs do."""

import torch

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient, input_x_gradient
from fixtures.wrong.robustness import amplified, restless

CHECK = "relative_output_stability"


def test_right_explainers_pass(verdict, digits):
    for explainer in (input_x_gradient, gradient):
        passed = verdict(CHECK, explainer, digits)
        assert passed.outcome == "passed"
        assert passed.figure < 0.2


def test_defects_fail(verdict, digits, borderline):
    assert verdict(CHECK, amplified(gain=400), digits).figure == 1.0
    failed = verdict(CHECK, restless(amplitude=0.2, gain=80), borderline)
    assert failed.outcome == "failed"
    assert failed.figure > 0.7
    assert failed.reason.startswith("The map changes while the outputs hardly change")


def test_the_gradient_of_a_linear_model_never_changes(finding, stacked):
    found, _ = finding(CHECK, gradient, stacked)
    assert (found.values == 0).all()


def test_the_figure_on_a_linear_model_in_closed_form(finding, recorder, proportional):
    """|(x' - x) / x| over |W (x' - x)|, the latter no less than half of its largest."""
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, proportional)
    (weights,) = (each for each in proportional.model.parameters() if each.ndim == 2)
    steps = torch.stack([each - bench.inputs for each in asked.inputs[1:]], 1)
    changes = (steps / bench.inputs[:, None]).norm(dim=2)
    outputs = (steps @ weights.detach().T).norm(dim=2)
    floor = torch.maximum(outputs, outputs.amax(1, keepdim=True) / 2)
    assert (floor > outputs).any()
    assert torch.allclose(found.values, (changes / floor).amax(1))


def test_outputs_that_never_change_tell_nothing(verdict):
    """A model of constants: there is no change to compare with."""
    model = models.linear(torch.zeros(3, 12, dtype=torch.float64))
    inputs = torch.rand(16, 12, generator=torch.Generator().manual_seed(0)).double()
    subject = xai.Subject(model, inputs, torch.arange(16) % 3, bounds=(0, 1))
    judged = verdict(CHECK, lambda model, inputs, targets: inputs.clone(), subject)
    assert judged.outcome == "undecided"
    assert judged.reason == "No image could be judged. 16 images left out: no step to compare with."
