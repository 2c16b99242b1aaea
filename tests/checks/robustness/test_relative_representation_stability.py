"""The map changes no more than what the model's last layer reads."""

import torch
from torch import nn

import pytest_xai as xai
from fixtures.right import gradient, input_x_gradient
from fixtures.wrong.robustness import amplified, restless

CHECK = "relative_representation_stability"


def test_right_explainers_pass(verdict, digits):
    for explainer in (input_x_gradient, gradient):
        passed = verdict(CHECK, explainer, digits)
        assert passed.outcome == "passed"
        assert passed.figure < 0.2


def test_defects_fail(verdict, digits, two_ways):
    assert verdict(CHECK, amplified(gain=400), digits).figure == 1.0
    failed = verdict(CHECK, restless(amplitude=4, gain=50), two_ways)
    assert failed.outcome == "failed"
    assert failed.figure > 0.7
    assert failed.reason.startswith(
        "The map changes while the model's representation hardly changes"
    )


def test_the_gradient_of_a_linear_model_never_changes(finding, stacked):
    found, _ = finding(CHECK, gradient, stacked)
    assert (found.values == 0).all()


def test_where_the_representation_is_the_input_it_is_input_stability(finding, stacked):
    """And the product with a linear model then changes as its representation does."""
    found, _ = finding(CHECK, input_x_gradient, stacked)
    assert torch.allclose(found.values, torch.ones_like(found.values))
    inputs, _ = finding("relative_input_stability", input_x_gradient, stacked)
    assert torch.allclose(found.values, inputs.values)
    assert torch.allclose(found.limits, inputs.limits)


def test_a_representation_that_stays_where_it_is_has_nothing_to_compare_with(verdict):
    """It is one all the same, whose units are at the end of their range."""
    head = nn.Sequential(nn.Linear(6, 4), nn.Hardtanh(-1e-3, 1e-3), nn.Linear(4, 3))
    with torch.no_grad():
        head[0].bias += 10
    nothing = verdict(CHECK, input_x_gradient, xai.Subject(head.eval(), torch.rand(16, 6)))
    assert nothing.outcome == "undecided"
    assert "16 images left out: " in nothing.reason
