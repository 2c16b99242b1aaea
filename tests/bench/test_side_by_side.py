"""Two benches on one model: neither takes the other's work for a guest's doing."""

import torch
from torch import nn

from pytest_xai import Subject, check_explainer
from pytest_xai.bench.bench import Bench
from pytest_xai.checks import get
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.protocol import named


def gradient(model, inputs, targets):
    inputs = inputs.clone().requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def subject():
    torch.manual_seed(0)
    return Subject(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(4, 3))


def side_effects(bench):
    task = Task(check=get("side_effects"), explainer=named(gradient), asserted=True)
    return run_check(bench, task).outcome


def test_a_bench_that_opens_later_is_no_side_effect():
    shared = subject()
    first = Bench(shared)
    second = Bench(shared)
    assert side_effects(first) == "passed"
    assert side_effects(second) == "passed"


def test_a_bench_that_closes_is_no_side_effect():
    shared = subject()
    shared.model.eval()
    first = Bench(shared)
    second = Bench(shared)
    first.close()
    assert side_effects(second) == "passed"
    second.close()
    assert not shared.model._forward_hooks


def test_a_check_within_a_run_on_the_same_subject():
    shared = subject()
    bench = Bench(shared)
    report = check_explainer(gradient, shared, checks=["contract"])
    assert {v.check: v.outcome for v in report if v.outcome != "passed"} in (
        {},
        {"device_consistent": "not_applicable"},
    )
    assert side_effects(bench) == "passed"
    bench.logits()
    assert bench.counter.spent.forward > 0


def test_a_guest_that_clears_all_hooks_is_caught_and_counting_goes_on():
    def clearing(model, inputs, targets):
        model._forward_hooks.clear()
        return gradient(model, inputs, targets)

    bench = Bench(subject())
    task = Task(check=get("side_effects"), explainer=named(clearing), asserted=True)
    assert run_check(bench, task).outcome == "failed"
    before = bench.counter.spent.forward
    bench.scores(bench.inputs)
    assert bench.counter.spent.forward == before + 4
