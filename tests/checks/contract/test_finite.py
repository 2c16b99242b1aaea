"""No NaN and no inf: on the images, where input and baseline agree, and on constant images."""

import pytest
import torch

import pytest_xai as xai
from fixtures.loops import crossed
from fixtures.right import gradient, integrated_gradients, occlusion, smooth_gradient

KINDS = ["image", "baseline as the image", "constant image"]


@pytest.mark.parametrize(
    *crossed(
        [gradient, integrated_gradients(steps=4), occlusion, smooth_gradient],
        ["gradient", "ig", "occlusion", "smooth"],
        subjects=["digits", "table", "signal", "one_logit", "scalar"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict("finite", explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.figure) == ("passed", 0)


@pytest.mark.parametrize("subject", ["digits", "signal"])
def test_the_three_inputs(subject, recorder, finding, request):
    subject = request.getfixturevalue(subject)
    asked = recorder(integrated_gradients(steps=4), needs_baseline=True)
    _, bench = finding("finite", asked, subject)
    images, references, constants = asked.inputs
    assert torch.equal(images, bench.inputs)
    assert torch.equal(references, bench.baseline)
    flat = constants.flatten(1)
    assert (flat == flat[:, :1]).all()
    assert torch.allclose(flat[:, 0], bench.inputs.flatten(1).mean(1))
    assert all(torch.equal(each, bench.baseline) for each in asked.baselines)
    assert all(torch.equal(each, bench.targets) for each in asked.targets)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_of_one_image_is_found(value, finding, verdict, digits):
    worst = digits.inputs[finding("finite", gradient, digits)[1].images].flatten(1).sum(1).argmax()

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        maps[(inputs.flatten(1).sum(1)).argmax(), 0, 3, 5] = value
        return maps

    found, bench = finding("finite", explain, digits)
    assert found.facts["not finite: image"].nonzero().flatten().tolist() == [int(worst)]
    assert found.values.sum() == 3  # one image in each kind of batch
    failed = verdict("finite", explain, digits)
    assert failed.outcome == "failed"
    assert failed.reason == (
        f"The explainer returned NaN or infinite values in the map of the {', the '.join(KINDS)}."
    )
    assert failed.counterexample["image"] in bench.images


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_named_alone(kind, finding, digits):
    calls = []

    def explain(model, inputs, targets):
        calls.append(inputs)
        maps = gradient(model, inputs, targets)
        return maps / 0 if len(calls) == 1 + KINDS.index(kind) else maps

    found, _ = finding("finite", explain, digits)
    assert found.values.tolist() == [1] * 32
    assert found.facts[f"not finite: {kind}"].tolist() == [1] * 32
    assert found.cause == (
        f"The explainer returned NaN or infinite values in the map of the {kind}."
    )


def test_an_array_with_nan_is_found(verdict, digits):
    def explain(model, inputs, targets):
        return (gradient(model, inputs, targets) * torch.nan).numpy()

    assert verdict("finite", explain, digits).outcome == "failed"


def test_a_wrong_shape_is_an_error_here(verdict, digits):
    failed = verdict("finite", lambda model, inputs, targets: inputs[0], digits)
    assert failed.outcome == "error"
    assert "InvalidAttribution: the explainer returned shape (1, 8, 8)" in failed.reason


def test_a_model_that_saturates_keeps_a_right_explainer_finite(verdict):
    layer = torch.nn.Linear(4, 2).eval()
    with torch.no_grad():
        layer.weight.mul_(1e30)
    subject = xai.Subject(layer, torch.rand(8, 4))
    assert verdict("finite", gradient, subject).outcome == "passed"
