"""The map changes no more than the input does, both relative to what they were."""

import torch

from fixtures.right import gradient, input_x_gradient
from fixtures.wrong.robustness import amplified, restless
from pytest_xai.measures.reference_maps import other_images

CHECK = "relative_input_stability"


def test_right_explainers_pass(verdict, digits):
    for explainer in (input_x_gradient, gradient):
        passed = verdict(CHECK, explainer, digits)
        assert passed.outcome == "passed"
        assert passed.figure < 0.2


def test_defects_fail(verdict, digits, borderline):
    assert verdict(CHECK, amplified(gain=400), digits).figure == 1.0
    failed = verdict(CHECK, restless(amplitude=0.2, gain=150), borderline)
    assert failed.outcome == "failed"
    assert failed.figure > 0.7
    assert failed.reason.startswith(
        "Small differences of the input change the map out of proportion"
    )


def test_the_gradient_of_a_linear_model_never_changes(finding, stacked):
    found, _ = finding(CHECK, gradient, stacked)
    assert (found.values == 0).all()


def test_the_product_with_a_linear_model_changes_as_the_input_does(finding, proportional):
    """(w x' - w x) / (w x) is (x' - x) / x: the figure is 1, but for the least denominator."""
    found, _ = finding(CHECK, input_x_gradient, proportional)
    assert (found.values <= 1 + 1e-9).all()
    assert (found.values > 1 - 1e-9).all()


def test_the_figure_and_its_limit_by_hand(finding, recorder, digits_double):
    """Divided value by value: by a tenth of the largest, or of the range, at least."""
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, digits_double)
    own, *maps = (each.flatten(1) for each in asked.maps)
    here, *inputs = (each.flatten(1) for each in asked.inputs)
    divisor = torch.maximum(own.abs(), own.abs().amax(1, keepdim=True) / 10)
    changes = torch.stack([((each - own) / divisor).norm(dim=1) for each in maps], 1)
    steps = [((each - here) / here.abs().clamp(min=0.1)).norm(dim=1) for each in inputs]
    steps = torch.stack(steps, 1)
    held = [bench.predictions(each) == bench.predictions() for each in asked.inputs[1:]]
    assert torch.stack(held).all()
    reach = steps.amax(1)
    floor = torch.maximum(steps, reach[:, None] / 2)
    assert torch.allclose(found.values, (changes / floor).amax(1))
    other = own[other_images(bench.targets)]
    other = other * (own.norm(dim=1) / other.norm(dim=1))[:, None]
    null = ((own - other) / divisor).norm(dim=1)
    assert torch.allclose(found.limits, null / 2 / reach)
