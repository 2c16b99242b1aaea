"""No small perturbation changes the map much."""

import pytest
import torch

from fixtures.right import gradient, input_x_gradient
from fixtures.wrong.robustness import amplified, turned_once_in
from pytest_xai.measures.reference_maps import other_images

CHECK = "max_sensitivity"


@pytest.mark.parametrize("subject", ["digits", "proportional"])
def test_a_right_explainer_passes(subject, verdict, request):
    passed = verdict(CHECK, input_x_gradient, request.getfixturevalue(subject))
    assert (passed.outcome, passed.figure, passed.limit) == ("passed", 0.0, 0.5)


@pytest.mark.parametrize("explainer", [amplified(gain=400), turned_once_in(8)])
def test_amplification_and_a_rare_jump_fail(explainer, verdict, digits):
    failed = verdict(CHECK, explainer, digits)
    assert failed.outcome == "failed"
    assert failed.figure > 0.8
    assert failed.reason.startswith("An imperceptible perturbation changes the map")
    assert set(failed.tensors) == {"input", "map", "map that changed most"}
    assert not torch.equal(failed.tensors["map"], failed.tensors["map that changed most"])


def test_the_gradient_of_a_linear_model_never_changes(finding, proportional):
    found, _ = finding(CHECK, gradient, proportional)
    assert (found.values == 0).all()


@pytest.mark.parametrize("subject", ["proportional", "signal", "digits"])
def test_the_figure_and_its_null_by_hand(subject, finding, recorder, request):
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, request.getfixturevalue(subject))
    own, *others = (maps.double().flatten(1) for maps in asked.maps)
    size = own.norm(dim=1)
    changes = torch.stack([(each - own).norm(dim=1) for each in others], 1)
    held = [bench.predictions(each) == bench.predictions() for each in asked.inputs[1:]]
    counts = changes.where(torch.stack(held, 1), 0)
    assert torch.allclose(found.values, counts.amax(1) / size)
    unit = own / size[:, None]
    null = (unit - unit[other_images(bench.targets)]).norm(dim=1)
    assert torch.allclose(found.limits, null / 2)
    which = counts.argmax(1)
    expected = torch.stack([others[place][row] for row, place in enumerate(which.tolist())])
    assert torch.allclose(found.tensors["map that changed most"].double().flatten(1), expected)


def test_the_figure_is_that_of_captum(finding, recorder, proportional):
    """captum's own metric, on the very same perturbed inputs."""
    metrics = pytest.importorskip("captum.metrics")
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, proportional)
    copies = torch.stack(asked.inputs[1:], 1).flatten(0, 1)

    def explain(inputs, target):
        # captum asks once with a tuple, and wants one then.
        if isinstance(inputs, tuple):
            return (input_x_gradient(proportional.model, inputs[0], target),)
        return input_x_gradient(proportional.model, inputs, target)

    theirs = metrics.sensitivity_max(
        explain,
        bench.inputs,
        perturb_func=lambda inputs, radius: copies,
        n_perturb_samples=8,
        target=bench.targets,
    )
    assert torch.allclose(found.values, theirs)
