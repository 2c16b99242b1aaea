"""One map per input, of the input's shape or of its spatial shape, in a batch and alone."""

import pytest
import torch

import pytest_xai as xai
from fixtures.right import gradient


def of_gradient(change):
    return lambda model, inputs, targets: change(gradient(model, inputs, targets))


@pytest.mark.parametrize(
    "form",
    [
        lambda maps: maps,
        lambda maps: maps.sum(1, keepdim=True),
        lambda maps: maps.sum(1),
        lambda maps: maps.double(),
        lambda maps: maps.half(),
        lambda maps: maps.clone().requires_grad_(),
        lambda maps: maps.numpy(),
        lambda maps: maps.to(memory_format=torch.channels_last),
        lambda maps: maps * torch.nan,
    ],
    ids=[
        "inputs' shape",
        "one channel",
        "no channel",
        "float64",
        "float16",
        "with a graph",
        "numpy",
        "channels last in memory",
        "NaN is for another check",
    ],
)
def test_every_accepted_form_passes(form, verdict, normed):
    assert verdict("shape", of_gradient(form), normed).outcome == "passed"


@pytest.mark.parametrize("subject", ["table", "signal", "one_logit", "scalar"])
def test_shapes_of_other_data(subject, verdict, request):
    subject = request.getfixturevalue(subject)
    assert verdict("shape", gradient, subject).outcome == "passed"
    cut = verdict("shape", of_gradient(lambda maps: maps[..., 1:]), subject)
    assert cut.outcome == "failed"
    assert f"for inputs of shape {(1, *subject.inputs.shape[1:])}" in cut.reason


def test_a_signal_has_a_map_without_channels_and_a_table_has_none(verdict, signal, table):
    over_channels = of_gradient(lambda maps: maps.sum(1))
    assert verdict("shape", over_channels, signal).outcome == "passed"
    assert verdict("shape", over_channels, table).outcome == "failed"


def test_an_image_alone_is_asked_for(finding, verdict, digits):
    squeezed = of_gradient(torch.squeeze)
    found, bench = finding("shape", squeezed, digits)
    assert found.values.tolist() == [1] + [0] * 31
    failed = verdict("shape", squeezed, digits)
    assert failed.counterexample["image"] == bench.images[0]
    assert (failed.figure, failed.limit) == (1, 0)


def test_a_batch_is_asked_for(finding, digits):
    """A map that is right for one image and wrong for several."""
    alone = of_gradient(lambda maps: maps if len(maps) == 1 else maps[0])
    found, _ = finding("shape", alone, digits)
    assert found.values.tolist() == [1] * 32
    assert "In a batch of 32, the explainer returned shape (1, 8, 8)" in found.cause


def test_only_the_images_of_a_wrong_call_count(finding, digits, monkeypatch):
    monkeypatch.setattr("pytest_xai.bench.images._ELEMENTS", 8 * 64)
    third = digits.inputs[finding("shape", gradient, digits)[1].images[16:24]]

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps[1:] if torch.equal(inputs, third) else maps

    found, _ = finding("shape", explain, digits)
    assert found.values.tolist() == [0] * 16 + [1] * 8 + [0] * 8


def test_what_raises_is_an_error_and_no_failure(verdict, digits):
    def explain(model, inputs, targets):
        raise KeyError("no such layer")

    failed = verdict("shape", explain, digits)
    assert failed.outcome == "error"
    assert "raised KeyError: 'no such layer'" in failed.reason
    assert "in explain" in failed.traceback


def test_one_call_for_each_batch_and_one_alone(recorder, verdict):
    asked = recorder(gradient)
    subject = xai.Subject(torch.nn.Linear(3, 2).eval(), torch.rand(5, 3))
    verdict("shape", asked, subject)
    assert [len(inputs) for inputs in asked.inputs] == [5, 1]


def test_values_that_are_for_another_check_do_not_end_this_one(finding, digits):
    def explain(model, inputs, targets):
        return inputs * torch.nan if len(inputs) > 1 else inputs[..., 1:]

    found, _ = finding("shape", explain, digits)
    assert found.values.tolist() == [1] + [0] * 31
