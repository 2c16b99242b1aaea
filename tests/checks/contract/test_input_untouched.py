"""The explainer leaves inputs, targets and baseline as they are."""

import pytest
import torch

import pytest_xai as xai
from fixtures.controls import WRONG
from fixtures.loops import crossed
from fixtures.right import gradient, integrated_gradients, smooth_gradient
from pytest_xai.engine.run_check import run_check
from pytest_xai.protocol import named

TOUCHING = {name: wrong for name, wrong in WRONG.items() if wrong.check == "input_untouched"}


@pytest.mark.parametrize(
    *crossed(
        [gradient, integrated_gradients(steps=4), smooth_gradient],
        ["gradient", "ig", "smooth"],
        subjects=["digits", "table", "signal", "one_logit", "scalar"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict("input_untouched", explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.figure, passed.reason) == ("passed", 0, "")


def test_a_map_that_is_the_input_itself_touches_nothing(verdict, digits):
    passed = verdict("input_untouched", lambda model, inputs, targets: inputs, digits)
    assert passed.outcome == "passed"


def test_what_is_cleaned_up_is_no_change(verdict, digits):
    def explain(model, inputs, targets):
        inputs.requires_grad_()
        model(inputs).gather(1, targets[:, None]).sum().backward()
        maps, inputs.grad = inputs.grad, None
        inputs.requires_grad_(False)
        model.zero_grad()
        return maps

    assert verdict("input_untouched", explain, digits).outcome == "passed"


def everything(model, inputs, targets, baseline):
    maps = gradient(model, inputs, targets)
    inputs.add_(1).requires_grad_().sum().backward()
    targets.add_(1)
    baseline.unsqueeze_(0)
    return maps


def test_every_change_is_counted_and_named(verdict, digits):
    failed = verdict("input_untouched", xai.explainer(needs_baseline=True)(everything), digits)
    assert failed.outcome == "failed"
    assert (failed.figure, failed.limit) == (5, 0)
    assert failed.reason == (
        "The explainer changed the values of inputs, requires_grad of inputs, .grad of inputs, "
        "the values of targets, the values of baseline: clone or detach its arguments first."
    )


@pytest.mark.parametrize("name", TOUCHING)
def test_the_next_check_sees_the_inputs_as_they_were(name, task_of, recorder, digits):
    bench = xai.Bench(digits)
    before = [tensor.clone() for tensor in (digits.inputs, digits.targets, digits.baseline)]
    try:
        run_check(bench, task_of("input_untouched", named(TOUCHING[name].explainer)))
        asked = recorder(integrated_gradients(steps=1), needs_baseline=True)
        following = run_check(bench, task_of("input_untouched", named(asked)))
    finally:
        bench.close()
    assert following.outcome == "passed"
    after = (digits.inputs, digits.targets, digits.baseline)
    assert all(map(torch.equal, before, after))
    assert not digits.inputs.requires_grad
    assert digits.inputs.grad is None
    order = bench.images[:32]
    assert torch.equal(asked.inputs[0], before[0][order])
    assert torch.equal(asked.targets[0], before[1][order])
    assert torch.equal(asked.baselines[0], before[2].expand(32, -1, -1, -1))


def test_only_the_images_of_the_touched_batch_count(finding, digits, monkeypatch):
    monkeypatch.setattr("pytest_xai.bench.images._ELEMENTS", 16 * 64)
    calls = []

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        calls.append(len(inputs))
        if len(calls) == 2:
            inputs.zero_()
        return maps

    found, _ = finding("input_untouched", explain, digits)
    assert calls == [16, 16]
    assert found.values.tolist() == [0] * 16 + [1] * 16


def test_changes_of_all_batches_are_named(finding, digits, monkeypatch):
    monkeypatch.setattr("pytest_xai.bench.images._ELEMENTS", 16 * 64)
    calls = []

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        calls.append((inputs, targets)[len(calls) % 2].zero_())
        return maps

    found, _ = finding("input_untouched", explain, digits)
    assert "the values of inputs, the values of targets" in found.cause
