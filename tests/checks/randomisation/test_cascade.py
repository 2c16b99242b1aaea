"""Re-initialised models of the checks: which weights change, in which order, at what cost."""

import itertools
import zlib

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient, smooth_gradient
from pytest_xai.checks.randomisation._engine import GRADIENT, notes_on_kept
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


def cascade(subject, *, check=CHECK, seed=0, start=0):
    watching = Watching()
    bench = xai.Bench(subject, seed=seed)
    try:
        xai.checks.get(check).function(bench.view(start, start + 8), named(watching))
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
        {"used_by_others.weight", "used_by_others.bias"},
        {"second.weight", "second.bias"},
        {"scale", "shift"},
        {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"},
        {"first.weight", "first.bias"},
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


def test_bottom_up_is_the_other_way_round_and_ends_at_the_same_weights(twins):
    down, up = (cascade(twins, check=check).states for check in (CHECK, "mprt_bottom_up"))
    assert changed_by_step(up) == changed_by_step(down)[::-1]
    assert all(torch.equal(down[-1][key], up[-1][key]) for key in down[-1])


def test_independent_draws_one_layer_and_puts_it_back(twins):
    states = cascade(twins, check="mprt_independent").states
    down = cascade(twins).states
    alone = [changed_by_step([states[0], state])[0] for state in states[1:]]
    assert alone == changed_by_step(down)
    last = states[-1]
    assert all(torch.equal(last[key], down[-1][key]) for key in alone[-1])


def test_the_efficient_test_draws_everything_four_times(twins):
    states = cascade(twins, check="efficient_mprt").states
    everything = {key for key, value in states[0].items() if value.is_floating_point()}
    assert len(states) == 1 + 4
    assert all(changed_by_step([states[0], state]) == [everything] for state in states[1:])
    for a, b in itertools.combinations(states[1:], 2):
        assert not torch.isclose(a["third.weight"], b["third.weight"]).any()


def test_every_sixteen_images_have_a_draw_of_their_own(recorder, finding, digits):
    asked = recorder(gradient)
    weights = []

    def explain(model, inputs, targets):
        weights.append(model.fc2.weight.detach().clone())
        return asked(model, inputs, targets)

    _, bench = finding(CHECK, explain, digits)
    # The trained model once on all, then each group on its four steps.
    assert [len(inputs) for inputs in asked.inputs] == [32, *[16] * 8]
    assert torch.equal(torch.cat([asked.inputs[1], asked.inputs[5]]), bench.inputs)
    assert torch.equal(weights[1], weights[4])
    assert not torch.isclose(weights[1], weights[5]).any()


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
    noisy = recorder(lambda model, inputs, targets: torch.randn_like(inputs), stochastic=True)
    finding(CHECK, noisy, digits)
    assert len(asked.maps) == 2 * (1 + 4)  # a stochastic explainer's originals, group by group
    for start, end in ((0, 16), (16, 32)):
        calls = range(start // 16 * 5, end // 16 * 5)
        assert all(torch.equal(asked.inputs[call], bench.inputs[start:end]) for call in calls)
        assert all(torch.equal(asked.targets[call], bench.targets[start:end]) for call in calls)
        assert all(torch.equal(noisy.maps[call], noisy.maps[calls[0]]) for call in calls)


@pytest.mark.parametrize(
    "check", [CHECK, "mprt_bottom_up", "mprt_independent", "smooth_mprt", "efficient_mprt"]
)
@pytest.mark.parametrize("seed", [0, 7])
def test_noise_seeded_by_the_input_is_not_taken_for_a_change(check, seed, verdict, digits):
    """A map that the input's bytes decide, and the model does not."""

    def explain(model, inputs, targets):
        return torch.stack([seeded_by(image) for image in inputs])

    def seeded_by(image):
        source = torch.Generator().manual_seed(zlib.crc32(image.numpy().tobytes()))
        return torch.randn(image.shape, generator=source)

    failed = verdict(check, explain, digits, seed=seed)
    assert failed.outcome == "failed"
    assert failed.figure == pytest.approx(0.0 if check == "efficient_mprt" else 1.0)


def test_what_could_not_be_drawn_is_said(verdict):
    torch.manual_seed(0)
    norms = [nn.BatchNorm1d(6) for _ in range(3)]
    model = nn.Sequential(nn.Linear(6, 6), *norms, nn.Linear(6, 3)).eval()
    judged = verdict(CHECK, gradient, xai.Subject(model, torch.rand(16, 6)))
    assert (
        "Not re-initialised, because no rule is known: 3.running_mean, 3.running_var, "
        "2.running_mean, 2.running_var and 2 more."
    ) in judged.reason


@pytest.mark.parametrize(
    "count, said",
    [(1, "a"), (4, "a, b, c, d"), (5, "a, b, c, d and 1 more"), (7, "a, b, c, d and 3 more")],
)
def test_four_of_what_could_not_be_drawn_are_named(count, said):
    assert notes_on_kept(dict.fromkeys("abcdefg"[:count])) == (
        f"Not re-initialised, because no rule is known: {said}.",
    )
    assert notes_on_kept({}) == ()


def test_the_gradient_of_outputs_that_ignore_the_inputs_is_zero():
    class Ignoring(nn.Module):
        def __init__(self):
            super().__init__()
            self.outputs = nn.Parameter(torch.ones(3))

        def forward(self, inputs):
            return self.outputs.expand(len(inputs), 3)

    given = Ignoring(), torch.rand(2, 4), torch.tensor([0, 1])
    assert torch.equal(GRADIENT.call(*given), torch.zeros(2, 4))


def test_eight_explainers_cost_their_own_calls_and_hardly_more(digits):
    """At most a tenth more forward evaluations, and the layers of one set of models."""
    spent = {"own": 0}
    bench = xai.Bench(digits, seed=0)
    view = bench.view(0, 32)

    def counted(weight):
        def explain(model, inputs, targets):
            before = bench.counter.spent.forward
            maps = weight * gradient(model, inputs, targets)
            spent["own"] += bench.counter.spent.forward - before
            return maps

        return explain

    try:
        for weight in range(1, 9):
            xai.checks.get(CHECK).function(view, named(counted(weight)))
        total = bench.counter.spent.forward
    finally:
        bench.close()
    assert spent["own"] == 8 * 32 * 5
    assert spent["own"] < total <= 1.1 * spent["own"] + 32 * 4
    assert total - spent["own"] == 8  # one image shows each of them the layers


def test_a_model_without_parameters_has_nothing_to_draw(verdict):
    nothing = verdict(CHECK, gradient, xai.Subject(models.Product(), torch.rand(8, 2)))
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "the model has no parameters"
