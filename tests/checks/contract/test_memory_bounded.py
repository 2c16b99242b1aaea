"""The memory that an explainer keeps stays bounded, however often it is called."""

import collections
import functools
import gc

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import gradient, integrated_gradients, occlusion, smooth_gradient
from pytest_xai.checks.contract import memory_bounded
from pytest_xai.protocol import traits_of

CHECK = "memory_bounded"
CALLS, MANY = 6, 64


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "scalar"])
@pytest.mark.parametrize(
    "explainer", [gradient, integrated_gradients("gauss", 4), occlusion, smooth_gradient]
)
def test_right_explainers_pass_after_six_calls(explainer, subject, recorder, finding, request):
    calls = []

    @xai.explainer(needs_baseline=traits_of(explainer).needs_baseline)
    def explain(*given, **baseline):
        calls.append(len(given[1]))
        return explainer(*given, **baseline)

    found, _ = finding(CHECK, explain, request.getfixturevalue(subject))
    assert calls == [1] * CALLS
    assert (found.values == 0).all()
    assert found.cause == ""


def keeping(bound, of=lambda inputs: inputs.clone()):
    kept = collections.deque(maxlen=bound)

    def explain(model, inputs, targets):
        kept.append(of(inputs))
        return gradient(model, inputs, targets)

    return explain


@pytest.mark.parametrize("bound, outcome", [(1, "passed"), (28, "passed"), (None, "failed")])
def test_a_cache_with_a_bound_passes(bound, outcome, verdict, table):
    judged = verdict(CHECK, keeping(bound), table)
    assert judged.outcome == outcome
    assert judged.figure == (20 if outcome == "failed" else 0)


def test_what_is_kept_of_every_second_call_grows_too(verdict, table):
    keep, calls = keeping(None), []

    def explain(*given):
        calls.append(1)
        return (gradient if len(calls) % 2 else keep)(*given)

    judged = verdict(CHECK, explain, table)
    assert (judged.outcome, judged.figure) == ("failed", 10)


def test_functools_caches(verdict, table):
    def cached(bound):
        @functools.lru_cache(maxsize=bound)
        def remember(key):
            return torch.frombuffer(bytearray(key), dtype=torch.float64)

        def explain(model, inputs, targets):
            return gradient(model, inputs, targets) + 0 * remember(inputs.numpy().tobytes())[0]

        return explain

    assert verdict(CHECK, cached(16), table).outcome == "passed"
    assert verdict(CHECK, cached(None), table).outcome == "failed"


def test_no_input_comes_twice(verdict, table):
    keys = []

    def explain(model, inputs, targets):
        keys.append(inputs.clone())
        return gradient(model, inputs, targets)

    verdict(CHECK, explain, table)
    assert len(keys) == MANY
    assert len(torch.cat(keys).unique(dim=0)) == MANY


def test_inputs_stay_in_their_range_and_near_to_what_they_were(verdict):
    given = []

    def explain(model, inputs, targets):
        given.append(inputs.clone())
        return keep(model, inputs, targets)

    keep, inputs = keeping(None), torch.ones(4, 5).double()
    verdict(CHECK, explain, xai.Subject(models.chain(5, 3), inputs))
    assert (torch.cat(given) <= 1).all()
    assert (torch.cat(given) >= 0.98).all()


@pytest.mark.parametrize("bound, calls", [(3, CALLS), (4, MANY)])
def test_a_cache_that_is_full_by_the_fourth_call_costs_no_more(bound, calls, finding, table):
    """The first call is hidden from the collector, so that a cache seems one entry shorter."""
    asked, keep = [], keeping(bound)

    def explain(model, inputs, targets):
        asked.append(1)
        return keep(model, inputs, targets)

    found, _ = finding(CHECK, explain, table)
    assert (len(asked), found.values.max()) == (calls, 0)


def test_no_gpu_is_asked_about_what_is_on_the_cpu(finding, table, monkeypatch):
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda *_: 1 << 30)
    found, _ = finding(CHECK, keeping(None), table)
    assert (found.values == 20).all()


@pytest.mark.parametrize(
    "keep, values",
    [
        (lambda inputs: inputs.clone(), 20),
        (lambda inputs: inputs.repeat(3, 1), 60),
        (lambda inputs: inputs.clone().requires_grad_().exp(), 40),  # the graph's leaf as well
        (lambda inputs: {"a": [inputs.clone(), inputs.clone()]}, 40),
    ],
)
def test_the_figure_is_what_every_call_keeps(keep, values, finding, table):
    found, _ = finding(CHECK, keeping(None, keep), table)
    assert (found.values == values).all()
    assert (found.facts["values of tensors per call"] == values).all()
    assert (found.facts["hooks and attributes per call"] == 0).all()
    assert f"tensors of {values} values" in found.cause


def hook(model, _):
    model[0].register_full_backward_hook(lambda *_: None)


def global_hook(*_):
    nn.modules.module.register_module_forward_pre_hook(lambda *_: None)


def weight_hook(model, _):
    model[0].weight.register_hook(lambda _: None)


def attribute(model, call):
    setattr(model[0], f"call{call}", 1)


def entry(model, _):
    vars(model[0]).setdefault("log", []).append(1)


@pytest.mark.parametrize("act", [hook, global_hook, weight_hook, attribute, entry])
def test_what_grows_in_the_model_is_counted_and_put_back(act, finding, table, photograph, changed):
    calls = []

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        act(model, len(calls))
        calls.append(1)
        return maps

    before = photograph(table.model)
    found, _ = finding(CHECK, explain, table)
    assert (found.values == 1).all()
    assert (found.facts["hooks and attributes per call"] == 1).all()
    assert (
        found.cause
        == "Every call keeps 1 hooks or attributes of the model (remove them after the call)."
    )
    assert changed(before, photograph(table.model)) == []


def test_what_is_left_once_does_not_grow(finding, table):
    """That is the check side_effects's to say."""

    def explain(model, inputs, targets):
        model[0].kept = inputs.clone()
        return gradient(model, inputs, targets)

    found, _ = finding(CHECK, explain, table)
    assert (found.values == 0).all()


def test_cycles_are_collected_before_they_count(verdict, table):
    def explain(model, inputs, targets):
        cycle = [inputs.clone()]
        cycle.append(cycle)
        return gradient(model, inputs, targets)

    assert verdict(CHECK, explain, table).outcome == "passed"


class Logging(nn.Module):
    """A model that keeps something of every call."""

    def __init__(self, keep):
        super().__init__()
        self.layer, self.keep, self.log = models.chain(5, 3), keep, []

    def forward(self, inputs):
        outputs = self.layer(inputs)
        self.keep(self.log, inputs, outputs)
        return outputs


def keep_input(log, inputs, _):
    log.append(inputs.detach().clone())


def keep_a_number(log, *_):
    log.append(1)


def keep_gradient(log, _, outputs):
    if outputs.requires_grad:
        outputs.register_hook(lambda gradient: log.append(gradient.clone()))


@pytest.mark.parametrize("keep", [keep_input, keep_a_number, keep_gradient])
def test_what_the_model_keeps_is_not_the_explainers_doing(keep, verdict):
    judged = verdict(CHECK, gradient, xai.Subject(Logging(keep).eval(), torch.rand(4, 5).double()))
    assert judged.outcome == "not_applicable"
    assert judged.reason == "the model itself keeps more memory with every call"


def test_nor_where_the_model_has_no_gradient(verdict):
    model = Logging(keep_input).eval()
    model.forward = torch.no_grad()(model.forward)
    judged = verdict(CHECK, occlusion, xai.Subject(model, torch.rand(4, 5).double()))
    assert judged.reason == "the model itself keeps more memory with every call"


def test_a_model_that_ignores_its_inputs_is_asked_all_the_same(verdict):
    class Ignoring(nn.Module):
        def __init__(self):
            super().__init__()
            self.outputs = nn.Parameter(torch.ones(3))

        def forward(self, inputs):
            return self.outputs.expand(len(inputs), 3)

    kept = []

    def explain(model, inputs, targets):
        kept.append(inputs.clone())
        return inputs

    judged = verdict(CHECK, explain, xai.Subject(Ignoring(), torch.rand(4, 5)))
    assert (judged.outcome, judged.figure) == ("failed", 5)


def test_a_single_image_is_enough(verdict):
    subject = xai.Subject(models.chain(5, 3), torch.rand(1, 5).double())
    assert verdict(CHECK, gradient, subject).outcome == "passed"
    failed = verdict(CHECK, keeping(None), subject)
    assert (failed.outcome, failed.figure) == ("failed", 5)


def test_nothing_stays_frozen(verdict, table):
    verdict(CHECK, gradient, table)
    assert gc.get_freeze_count() == 0

    def explain(*_):
        raise ValueError("no")

    assert verdict(CHECK, explain, table).outcome == "error"
    assert gc.get_freeze_count() == 0


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name, outcome", [(None, "passed"), ("keeps its graphs in a list", "failed")]
)
def test_on_a_gpu_its_allocator_counts(name, outcome, verdict, digits):
    subject = xai.Subject(digits.model, digits.inputs[:8], device="cuda")
    explain = gradient if name is None else WRONG[name].explainer
    try:
        judged = verdict(CHECK, explain, subject)
    finally:
        digits.model.cpu()
    assert judged.outcome == outcome


def test_what_a_gpu_has_handed_out_counts_in_values_of_float32(monkeypatch):
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda _: 4 << 40)
    kept = memory_bounded._count(nn.Linear(2, 2), torch.device("cuda"))
    assert kept.numbers == 1 << 40
