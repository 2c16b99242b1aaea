"""Changes that an explainer leaves are named, and the next check sees a clean model."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.loops import in_one_test
from fixtures.right import gradient, smooth_gradient
from fixtures.wrong.hygiene import ACTS, DEFECTS, raising_after
from pytest_xai.bench import guard
from pytest_xai.checks.contract import side_effects
from pytest_xai.engine.run_check import run_check
from pytest_xai.protocol import named

every_act = in_one_test("act", ACTS)


@contextmanager
def fresh_bench():
    """A bench of a new model: what is left behind must not reach other explainers."""
    subject = xai.Subject(models.normed().float(), torch.rand(12, 2, 6, 5), baseline=0.5)
    bench = xai.Bench(subject)
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture
def bench():
    with fresh_bench() as bench:
        yield bench


def probe_of(photograph):
    """An explainer that looks at the model in the moment in which it is called."""

    def explain(model, inputs, targets):
        explain.seen.append(photograph(model, seeds=False))
        return gradient(model, inputs, targets)

    explain.seen = []
    return explain


def require_clean(bench, before, task_of, photograph, changed):
    """Nothing differs now, nor for the next explainer, whose map and verdict are what they were."""
    probe = probe_of(photograph)
    assert changed(before, photograph(bench.subject.model)) == []
    spent = bench.counter.spent
    for check in ("side_effects", "input_untouched"):
        following = run_check(bench, task_of(check, named(probe)))
        assert (following.outcome, following.reason) == ("passed", "")
    seen_before = {key: value for key, value in before.items() if key != "seeds"}
    assert all(changed(seen_before, seen) == [] for seen in probe.seen)
    assert (bench.counter.spent - spent).forward == 3 * len(bench)
    assert changed(before, photograph(bench.subject.model)) == []


@every_act
def test_what_is_left_is_named_and_put_back(act, task_of, photograph, changed):
    with fresh_bench() as bench:
        model, inputs, targets = bench.subject.model, bench.inputs, bench.targets
        before, map_before = photograph(model), gradient(model, inputs, targets)
        failed = run_check(bench, task_of("side_effects", named(DEFECTS[act].explainer)))
        assert failed.outcome == "failed"
        assert failed.reason.startswith("The explainer ")
        assert ACTS[act][1] in failed.reason
        assert failed.counterexample["cause"] == failed.reason
        require_clean(bench, before, task_of, photograph, changed)
        assert torch.equal(gradient(model, inputs, targets), map_before)


@every_act
def test_the_same_after_an_error(act, task_of, photograph, changed):
    with fresh_bench() as bench:
        before = photograph(bench.subject.model)
        broken = run_check(
            bench, task_of("side_effects", named(raising_after(ACTS[act][0]), "broken"))
        )
        assert broken.outcome == "error"
        assert broken.reason == "explainer 'broken' raised ValueError: out of ideas"
        assert "raise ValueError" in broken.traceback
        require_clean(bench, before, task_of, photograph, changed)


@every_act
def test_the_same_in_any_other_check(act, task_of, photograph, changed):
    """Effects are put back whichever check calls the explainer, here one on a model of its own."""
    with fresh_bench() as bench:
        before = photograph(bench.subject.model)
        run_check(bench, task_of("linearity", named(DEFECTS[act].explainer)))
        require_clean(bench, before, task_of, photograph, changed)


@pytest.mark.parametrize("act", ["leaves train mode", "edits a weight in place", "seeds torch"])
def test_the_same_when_the_user_interrupts(act, bench, photograph, changed, task_of):
    def explain(model, inputs, targets):
        ACTS[act][0](model, inputs)
        raise KeyboardInterrupt

    before = photograph(bench.subject.model)
    with pytest.raises(KeyboardInterrupt):
        run_check(bench, task_of("side_effects", named(explain)))
    assert changed(before, photograph(bench.subject.model)) == []


@pytest.mark.parametrize("explainer", [gradient, smooth_gradient], ids=["gradient", "smooth"])
@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "one_logit", "scalar"])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict("side_effects", explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.figure, passed.reason) == ("passed", 0, "")


def cleaned_up(model, inputs, targets):
    handle = model.conv1.register_forward_hook(lambda *_: None)
    model.train()
    weight = model.conv1.weight.detach().clone()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(3)
            model.conv1.weight.mul_(torch.rand(()))
            model.conv1.weight.copy_(weight)
        model.eval()
        return gradient(model, inputs, targets)
    finally:
        handle.remove()
        model.eval()


def test_who_cleans_up_passes(verdict, normed):
    passed = verdict("side_effects", cleaned_up, normed)
    assert (passed.outcome, passed.figure) == ("passed", 0)


def test_every_effect_counts(finding, normed):
    """Nine parameters frozen, one module in train mode, one attribute added."""

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        model.requires_grad_(False)
        model.norm1.train()
        model.left = 1
        return maps

    found, _ = finding("side_effects", explain, normed)
    assert found.values.tolist() == [9 + 1 + 1] * 32
    assert found.limits == 0
    assert found.cause == (
        "The explainer changed an attribute (NormedNet.left: added); "
        "changed the mode of a module (norm1: left in train mode); "
        "changed requires_grad of 9 tensors (conv1.weight: left False, ...)."
    )


def test_only_the_images_of_the_call_count(finding, normed, monkeypatch):
    monkeypatch.setattr("pytest_xai.bench.images._ELEMENTS", 16 * 60)
    second = normed.inputs[finding("side_effects", gradient, normed)[1].images[16:]]

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        if torch.equal(inputs, second):
            model.train()
        return maps

    found, _ = finding("side_effects", explain, normed)
    assert found.values[:16].tolist() == [0] * 16
    assert (found.values[16:] > 0).all()


def test_what_the_first_call_alone_leaves_counts(finding, normed):
    calls = []

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        calls.append(model.requires_grad_(bool(calls)))
        return maps

    found, _ = finding("side_effects", explain, normed)
    assert found.values.tolist() == [9] * 32


def test_effects_of_all_calls_are_named(finding, normed, monkeypatch):
    monkeypatch.setattr("pytest_xai.bench.images._ELEMENTS", 16 * 60)
    calls = []

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        calls.append(model.train() if len(calls) < 2 else model.requires_grad_(False))
        return maps

    found, _ = finding("side_effects", explain, normed)
    assert "modules (NormedNet: left in train mode, ...)" in found.cause
    assert "requires_grad of 9 tensors (conv1.weight: left False, ...)" in found.cause


def test_seeding_with_a_new_number_each_time_is_drawing(verdict, normed):
    """Not told apart from a draw: the state at the end follows the state at the start."""

    def explain(model, inputs, targets):
        torch.manual_seed(int(torch.randint(1 << 30, ())))
        return gradient(model, inputs, targets)

    failed = verdict("side_effects", explain, normed)
    assert "numbers were drawn without stochastic=True" in failed.reason


class Counting(nn.Module):
    """A model with effects of its own: it counts its calls and keeps its activations."""

    def __init__(self):
        super().__init__()
        self.layer = models.chain(4, 6, 3).float()
        self.calls = 0
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, inputs):
        self.calls += 1
        self.seen += len(inputs)
        self.kept = inputs
        return self.layer(inputs)


def test_what_the_model_does_itself_is_not_the_explainers_doing(verdict):
    subject = xai.Subject(Counting().eval(), torch.rand(8, 4))
    assert verdict("side_effects", gradient, subject).outcome == "passed"

    def explain(model, inputs, targets):
        model.layer[0].kept = inputs
        return gradient(model, inputs, targets)

    failed = verdict("side_effects", explain, subject)
    assert failed.reason == "The explainer changed an attribute (layer.0.kept: added)."


def test_the_model_is_given_back_in_the_mode_it_came_in(verdict, photograph, changed):
    model = models.normed().float()
    model.train()
    model.norm2.eval()
    inputs = torch.rand(8, 2, 6, 5)
    before = photograph(model)
    subject = xai.Subject(model, inputs)
    assert changed(before, photograph(model)) == []
    passed = verdict("side_effects", gradient, subject)
    assert passed.outcome == "passed"
    assert changed(before, photograph(model)) == []
    verdict("side_effects", DEFECTS["leaves train mode"].explainer, subject)
    assert changed(before, photograph(model)) == []


def hooked(method):
    def explain(model, inputs, targets):
        handle = getattr(model.head, method)(lambda *_: None)
        try:
            return gradient(model, inputs, targets)
        finally:
            handle.remove()

    return explain


FULL, PARTIAL = hooked("register_full_backward_hook"), hooked("register_backward_hook")


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
@pytest.mark.parametrize("order", [(FULL, PARTIAL, FULL), (PARTIAL, FULL, PARTIAL)])
def test_the_kind_of_hooks_of_one_explainer_does_not_refuse_the_next(order, bench, task_of):
    outcomes = [run_check(bench, task_of("shape", named(each))).outcome for each in order]
    assert outcomes == ["passed", "passed", "passed"]


def test_what_is_drawn_in_the_first_call_alone_counts(finding, normed):
    calls = []

    def explain(model, inputs, targets):
        calls.append(1)
        return gradient(model, inputs, targets) + (torch.rand(()) if len(calls) == 1 else 0)

    found, _ = finding("side_effects", explain, normed)
    assert found.values.sum() == 32
    assert "numbers were drawn" in found.cause


@pytest.mark.parametrize(
    "count, hooks",
    [
        (1, "the hooks (layer0: left)"),
        (2, "the hooks at 2 places (layer0: left, ...)"),
        (3, "the hooks at 3 places (layer0: left, ...)"),
    ],
)
def test_of_each_kind_one_is_shown_and_all_are_counted(count, hooks):
    effects = [guard.SideEffect("hook", f"layer{n}", "left") for n in range(count)]
    grads = [guard.SideEffect("grad", f"weight{n}", ".grad was written") for n in range(count)]
    shown = side_effects._summary([*effects, *grads])
    parameters = "a parameter (weight0)" if count == 1 else f"{count} parameters (weight0, ...)"
    assert shown == f"The explainer changed {hooks}; wrote .grad of {parameters}."
