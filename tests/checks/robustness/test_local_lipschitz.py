"""Near an image the map changes no faster than the size of the step allows."""

import pytest
import torch

from fixtures.right import gradient, input_x_gradient
from fixtures.wrong.robustness import amplified, wavering
from pytest_xai.measures.reference_maps import other_images

CHECK = "local_lipschitz"


@pytest.mark.parametrize("explainer", [input_x_gradient, gradient])
def test_right_explainers_pass(explainer, verdict, digits):
    passed = verdict(CHECK, explainer, digits)
    assert passed.outcome == "passed"
    assert passed.figure < 0.1


@pytest.mark.parametrize("explainer", [amplified(gain=400), wavering(amplitude=0.3, gain=2000)])
def test_planted_amplification_fails(explainer, verdict, digits):
    failed = verdict(CHECK, explainer, digits)
    assert failed.outcome == "failed"
    assert failed.figure > 0.7
    assert failed.reason.startswith("The map amplifies small differences of the input")


def test_the_gradient_of_a_linear_model_never_changes(finding, proportional):
    found, _ = finding(CHECK, gradient, proportional)
    assert (found.values == 0).all()


def test_the_product_with_weights_of_one_size_has_that_size_as_its_constant(finding, borderline):
    """All weights are 0.1 or -0.1: |w * (x' - x)| = 0.1 |x' - x| in any direction."""
    found, _ = finding(CHECK, input_x_gradient, borderline)
    assert torch.allclose(found.values, torch.tensor(0.1).double())


def test_the_product_with_a_linear_model_is_bounded_by_its_largest_weight(
    finding, recorder, proportional
):
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, proportional)
    (weights,) = (each for each in proportional.model.parameters() if each.ndim == 2)
    weight = weights.detach()[bench.targets]
    steps = [each - bench.inputs for each in asked.inputs[1:]]
    ratios = [(weight * step).norm(dim=1) / step.norm(dim=1) for step in steps]
    assert torch.allclose(found.values, torch.stack(ratios).amax(0))
    assert (found.values <= weight.abs().amax(1)).all()
    own = asked.maps[0]
    other = own[other_images(bench.targets)]
    other = other * (own.norm(dim=1) / other.norm(dim=1))[:, None]
    longest = torch.stack([step.norm(dim=1) for step in steps]).amax(0)
    assert torch.allclose(found.limits, (own - other).norm(dim=1) / 2 / longest)
