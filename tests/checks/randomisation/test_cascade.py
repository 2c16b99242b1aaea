"""The models that mprt_cascading makes: which weights are drawn anew, when, and how."""

import itertools

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient, smooth_gradient
from pytest_xai.protocol import named

CHECK = "mprt_cascading"


class Watching:
    """The gradient, and the model's state at each call."""

    def __init__(self):
        self.states, self.models = [], []

    def __call__(self, model, inputs, targets):
        self.states.append({key: value.clone() for key, value in model.state_dict().items()})
        self.models.append(model)
        return gradient(model, inputs, targets)


def cascade(subject, *, seed=0, start=0):
    watching = Watching()
    bench = xai.Bench(subject, seed=seed)
    try:
        xai.checks.get(CHECK).function(bench.view(start, start + 8), named(watching))
    finally:
        bench.close()
    return watching


def changed_by_step(states):
    """Names of the tensors that each step changed."""
    return [
        {key for key in before if not torch.equal(before[key], after[key])}
        for before, after in itertools.pairwise(states)
    ]


class Twins(nn.Module):
    """Layers of one shape, run in another order than they are registered in, and two that aren't.

    It owns a parameter and a buffer itself, has a layer that never runs, and one whose parameters
    others use.
    """

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.third, self.second, self.first = (nn.Linear(6, 6) for _ in range(3))
        self.norm = nn.BatchNorm1d(6)
        self.norm.running_mean.copy_(torch.arange(6.0))
        self.norm.running_var.copy_(torch.arange(1.0, 7.0))
        self.unused = nn.Linear(2, 2)
        self.used_by_others = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.rand(6))
        self.register_buffer("shift", torch.rand(6))

    def forward(self, inputs):
        hidden = self.norm(self.first(inputs)).relu()
        hidden = self.second(hidden * self.scale + self.shift).relu()
        hidden = hidden @ self.used_by_others.weight + self.used_by_others.bias
        return self.last(self.third(hidden).relu())


@pytest.fixture
def twins():
    torch.manual_seed(0)
    return xai.Subject(Twins().eval(), torch.rand(16, 6))


def test_the_cascade_goes_from_the_output_down_and_keeps_what_it_changed(twins):
    states = cascade(twins).states
    steps = changed_by_step(states)
    assert steps == [
        {"last.weight", "last.bias"},
        {"third.weight", "third.bias"},
        {"second.weight", "second.bias"},
        {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"},
        {"first.weight", "first.bias"},
        {"scale", "shift"},
        {"used_by_others.weight", "used_by_others.bias"},
        {"unused.weight", "unused.bias"},
    ]
    everything = {key for key, value in states[0].items() if value.is_floating_point()}
    assert set().union(*steps) == everything


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "one_logit", "scalar"])
def test_the_cascade_reaches_every_parameter_and_buffer(subject, request):
    states = cascade(request.getfixturevalue(subject)).states
    steps = changed_by_step(states)
    floating = {key for key, value in states[0].items() if value.is_floating_point()}
    assert set().union(*steps) == floating
    assert sum(map(len, steps)) == len(floating)  # each once
    assert all(steps)


def test_equal_layers_get_different_draws(twins):
    last = cascade(twins).states[-1]
    weights = [last[f"{name}.weight"] for name in ("first", "second", "third", "used_by_others")]
    for a, b in itertools.combinations(weights, 2):
        assert not torch.isclose(a, b).any()


def test_draws_are_new_for_each_round_and_seed_and_otherwise_repeat(twins):
    first, again = cascade(twins).states[-1], cascade(twins).states[-1]
    assert all(torch.equal(first[key], again[key]) for key in first)
    for other in (cascade(twins, start=8), cascade(twins, seed=1)):
        assert not torch.isclose(first["third.weight"], other.states[-1]["third.weight"]).any()


def test_drawn_weights_follow_the_layers_own_scheme(twins):
    """nn.Linear draws from +-1/sqrt(fan-in); a batch norm is not set back to ones and zeros."""
    last = cascade(twins).states[-1]
    assert last["third.weight"].abs().max() <= 6**-0.5
    assert last["third.weight"].std() > 0.5 * 6**-0.5 / 3**0.5
    assert not (last["norm.weight"] == 1).any()
    assert set(last["norm.running_var"].tolist()) <= set(range(1, 7))


@pytest.mark.parametrize("subject", ["digits", "normed", "scalar"])
def test_the_model_itself_stays_as_it_is(subject, photograph, changed, request):
    model = request.getfixturevalue(subject).model
    before = photograph(model)
    watching = cascade(request.getfixturevalue(subject))
    assert watching.models[0] is model
    assert all(other is not model for other in watching.models[1:])
    assert changed(before, photograph(model)) == []


def test_every_step_has_the_same_images_targets_and_seed(recorder, finding, digits):
    asked = recorder(smooth_gradient, stochastic=True)
    _, bench = finding(CHECK, asked, digits)
    assert len(asked.maps) == 1 + 4
    assert all(torch.equal(inputs, bench.inputs) for inputs in asked.inputs)
    assert all(torch.equal(targets, bench.targets) for targets in asked.targets)
    noisy = recorder(lambda model, inputs, targets: torch.randn_like(inputs), stochastic=True)
    finding(CHECK, noisy, digits)
    assert all(torch.equal(maps, noisy.maps[0]) for maps in noisy.maps)


def test_a_model_without_parameters_has_nothing_to_draw(verdict):
    nothing = verdict(CHECK, gradient, xai.Subject(models.Product(), torch.rand(8, 2)))
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "the model has no parameters"
