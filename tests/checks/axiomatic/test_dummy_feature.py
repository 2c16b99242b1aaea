"""A channel that is cut off before the first layer gets no attribution."""

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.loops import crossed
from fixtures.right import (
    gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai import explainers

CHECK = "dummy_feature"


@pytest.mark.parametrize(
    *crossed(
        [gradient, input_x_gradient, integrated_gradients(steps=4), occlusion, smooth_gradient],
        ["gradient", "product", "ig", "occlusion", "smooth"],
        subjects=["digits", "normed", "table", "signal", "one_logit", "scalar"],
    )
)
def test_right_explainers_give_exactly_zero(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.figure, passed.images) == ("passed", 0, 32)


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "scalar"])
def test_the_added_channel_is_never_read(subject, recorder, finding, request):
    subject = request.getfixturevalue(subject)
    asked = recorder(integrated_gradients(steps=1), needs_baseline=True)
    _, bench = finding(CHECK, asked, subject)
    (model,), (inputs,), (reference,) = asked.models, asked.inputs, asked.baselines
    assert inputs.shape[1] == reference.shape[1] == bench.inputs.shape[1] + 1
    assert torch.equal(inputs[:, :-1], bench.inputs)
    assert torch.equal(reference[:, :-1], bench.baseline)
    assert torch.allclose(model(inputs), subject.model(bench.inputs), rtol=1e-12)
    changed = inputs.clone()
    changed[:, -1] = 1e6
    assert torch.equal(model(changed), model(inputs))
    slopes = gradient(model, inputs, bench.targets)
    assert (slopes[:, -1] == 0).all()
    assert (slopes[:, :-1] != 0).any()


@pytest.mark.parametrize("subject", ["digits", "table", "signal"])
def test_the_added_channel_holds_noise_in_the_inputs_range(subject, recorder, finding, request):
    """Neither zeros, nor the same in input and baseline, image and image, run and run."""
    subject = request.getfixturevalue(subject)
    asked = recorder(integrated_gradients(steps=1), needs_baseline=True)
    _, bench = finding(CHECK, asked, subject)
    finding(CHECK, asked, subject)
    finding(CHECK, asked, subject, seed=1)
    low, high = bench.bounds
    channels = [
        tensor[:, -1].reshape(len(tensor), -1) for tensor in (*asked.inputs, *asked.baselines)
    ]
    first, again, other = channels[:3]
    assert torch.equal(first, again)
    assert not torch.isclose(first, other).all()
    assert not torch.isclose(first, channels[3]).all()
    assert not torch.isclose(first[0], first[1]).all()
    for channel in channels:
        assert low <= channel.min() < low + 0.25 * (high - low)
        assert high - 0.25 * (high - low) < channel.max() <= high


def test_the_figure_is_the_share_of_the_largest_value(recorder, finding, signal):
    """The difference of input and baseline, which is what many maps are multiplied with."""
    asked = recorder(
        lambda model, inputs, targets, baseline: inputs - baseline, needs_baseline=True
    )
    found, bench = finding(CHECK, asked, signal)
    maps = asked.maps[0]
    dummy, largest = maps[:, -1].abs().amax(1), maps.abs().flatten(1).amax(1)
    assert torch.equal(found.facts["largest attribution of the ignored channel"], dummy)
    assert torch.equal(found.facts["largest attribution"], largest)
    assert torch.allclose(found.values, dummy / largest)
    assert found.limits == bench.rounding
    assert (found.values > 0.1).all()


@pytest.mark.parametrize("side", [-1, 1])
def test_one_value_of_either_sign_is_enough(side, finding, digits):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        maps[3, -1, 7, 0] = side * maps[3].abs().amax() / 2
        return maps

    found, _ = finding(CHECK, explain, digits)
    assert found.values.nonzero().flatten().tolist() == [3]
    assert found.values[3] == pytest.approx(0.5)


def test_a_map_without_channels_cannot_tell(verdict, digits, signal):
    for subject in (digits, signal):
        nothing = verdict(CHECK, lambda *given: gradient(*given).sum(1), subject)
        assert nothing.outcome == "not_applicable"
        assert (
            nothing.reason
            == "the map has no channels, so that the added channel has no attribution of its own"
        )


def test_zero_maps_do_not_count(verdict, digits):
    zero = verdict(CHECK, lambda model, inputs, targets: 0 * inputs, digits)
    assert zero.outcome == "undecided"
    assert "32 images left out: zero maps." in zero.reason


def test_a_leak_of_float32_is_decided_in_float64(verdict, digits):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps + 1e-2 if maps.dtype == torch.float32 else maps

    passed = verdict(CHECK, explain, digits)
    assert (passed.outcome, passed.figure) == ("passed", 0)
    assert "Decided in float64" in passed.reason


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (3.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict, table):
    unit = 8 * torch.finfo(torch.float64).eps * (3 * 20) ** 0.5

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        maps[:, -1] = share * unit * maps.abs().amax(1)
        return maps

    assert verdict(CHECK, explain, table).outcome == outcome


@pytest.mark.parametrize(
    "spec, options, outcome",
    [
        ("captum:Saliency", {}, "passed"),
        ("captum:IntegratedGradients", {}, "passed"),
        ("captum:DeepLift", {}, "passed"),
        ("captum:GuidedBackprop", {}, "passed"),
        ("captum:Occlusion", {"per_channel": True}, "passed"),
        ("captum:LayerGradCam", {}, "not_applicable"),
        ("control:InputItself", {}, "failed"),
        ("control:ConstantMap", {}, "failed"),
    ],
)
def test_methods_of_the_gallery(spec, options, outcome, verdict, digits):
    assert verdict(CHECK, explainers.get(spec, **options), digits).outcome == outcome


def test_layers_keep_their_names_for_the_explainer(verdict, digits):
    def explain(model, inputs, targets):
        assert model.get_submodule("conv2") is digits.model.conv2
        assert model.conv2 is digits.model.conv2
        return gradient(model, inputs, targets)

    assert verdict(CHECK, xai.explainer(explain), digits).outcome == "passed"


def test_inputs_of_one_value_have_no_noise_to_ignore(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.ones(8, 4).double())
    nothing = verdict(CHECK, gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert "pass Subject(bounds=(low, high))" in nothing.reason
