"""A call in which the model raised leaves the model and the process unchanged."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import gradient, integrated_gradients, occlusion, smooth_gradient
from fixtures.wrong.sums import lrp_epsilon
from pytest_xai.checks.contract import error_path_clean

CHECK = "error_path_clean"


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "scalar"])
@pytest.mark.parametrize(
    "explainer", [gradient, integrated_gradients("gauss", 4), occlusion, lrp_epsilon(0.1)]
)
def test_right_explainers_pass_and_the_model_is_as_before(
    explainer, subject, verdict, request, photograph, changed
):
    subject = request.getfixturevalue(subject)
    before = photograph(subject.model)
    passed = verdict(CHECK, explainer, subject)
    assert (passed.outcome, passed.figure, passed.images) == ("passed", 0, 2)
    assert changed(before, photograph(subject.model)) == []


def errors(explainer, subject, finding):
    """What the explainer saw raised."""
    seen = []

    @xai.explainer(needs_baseline=xai.protocol.traits_of(explainer).needs_baseline)
    def explain(*given, **baseline):
        try:
            return explainer(*given, **baseline)
        except Exception as error:
            seen.append(str(error))
            raise

    found, _ = finding(CHECK, explain, subject)
    return seen, found


def test_the_model_raises_in_both_passes(finding, table):
    seen, found = errors(gradient, table, finding)
    assert seen == [
        f"an error in the {way} pass, planted by the check" for way in ("forward", "backward")
    ]
    assert list(found.facts) == [
        "left after an error in the forward pass",
        "left after an error in the backward pass",
    ]


def test_without_gradients_it_raises_in_the_forward_pass_twice(finding, table):
    seen, found = errors(occlusion, table, finding)
    assert seen == ["an error in the forward pass, planted by the check"] * 2
    assert list(found.facts) == ["left after an error in the forward pass"]


def test_the_layers_are_in_the_middle_and_at_the_end(finding):
    """Five layers, one twice: the third of six raises forward, the last backward."""
    relu = nn.ReLU()
    layers = [nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 3), nn.Softmax(1)]
    ran, came_back = [], []

    def watch(output, number):
        ran.append(number)
        if output.requires_grad and number < 5:
            output.register_hook(lambda _: came_back.append(number))

    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda *given, number=number: watch(given[2], number))
    model = nn.Sequential(*layers).eval()
    seen = []

    def explain(*given):
        ran.clear()
        came_back.clear()
        try:
            return gradient(*given)
        finally:
            seen.append((list(dict.fromkeys(ran)), list(came_back)))

    finding(CHECK, explain, xai.Subject(model, torch.rand(4, 4)))
    # A module has the hooks of all its places.
    assert seen == [([0], []), ([0, 1, 3, 2, 4, 5], [])]


@pytest.mark.parametrize(
    "name, figures",
    [
        ("leaves a hook when the model raises", (1, 1)),
        ("leaves a hook when the backward pass raises", (0, 1)),
        ("leaves train mode when the model raises", (1, 1)),
        ("leaves the weights frozen when the model raises", (6, 6)),
        ("leaves requires_grad on its input when the model raises", (1, 1)),
        ("swallows what the model raises", (1, 1)),
    ],
)
def test_the_figure_is_the_number_of_things_left(name, figures, finding, table):
    found, _ = finding(CHECK, WRONG[name].explainer, table)
    assert (found.values == sum(figures)).all()
    assert [float(values[0]) for values in found.facts.values()] == list(figures)
    assert ("forward pass" in found.cause) == (figures[0] > 0)


def test_values_of_the_input_that_were_changed_count(finding, table):
    def explain(model, inputs, targets):
        inputs *= 2
        maps = gradient(model, inputs, targets)
        inputs /= 2
        return maps

    found, _ = finding(CHECK, explain, table)
    assert (found.values == 2).all()
    assert "the explainer left: other values in the inputs." in found.cause


def test_long_lists_are_cut(finding, table):
    found, _ = finding(
        CHECK, WRONG["leaves the weights frozen when the model raises"].explainer, table
    )
    assert "requires_grad of 2.weight: left False (and 3 more)." in found.cause


@pytest.mark.parametrize(
    "found, shown",
    [("ab", "a; b"), ("abc", "a; b; c"), ("abcd", "a; b; c (and 1 more)")],
)
def test_three_things_are_named(found, shown):
    assert error_path_clean._listed(list(found)) == shown


def test_errors_of_its_own_are_errors(verdict, table):
    def explain(*_):
        raise ValueError("not ready")

    judged = verdict(CHECK, explain, table)
    assert judged.outcome == "error"
    assert "ValueError: not ready" in judged.reason


def test_who_does_not_run_the_model_cannot_fail_in_it(verdict, table):
    judged = verdict(CHECK, lambda _, inputs, __: inputs * 2, table)
    assert (judged.outcome, judged.reason) == (
        "not_applicable",
        "the explainer does not run the model's layers as modules",
    )


def test_a_model_without_layers_raises_as_a_whole(verdict):
    subject = xai.Subject(models.Product(), torch.rand(4, 2).double())
    assert verdict(CHECK, gradient, subject).outcome == "passed"
    failed = verdict(CHECK, WRONG["swallows what the model raises"].explainer, subject)
    assert failed.figure == 2


def test_noise_is_no_effect(verdict, digits):
    before = torch.get_rng_state()
    assert verdict(CHECK, smooth_gradient, digits).outcome == "passed"
    assert torch.equal(torch.get_rng_state(), before)
