"""The map changes when what the model has learned is drawn anew, from the output down."""

import itertools

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import (
    gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai import explainers
from pytest_xai.protocol import named

CHECK = "mprt_cascading"


@pytest.mark.parametrize(
    "explainer",
    [gradient, integrated_gradients(steps=8), occlusion, smooth_gradient],
    ids=["gradient", "ig", "occlusion", "smooth"],
)
@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "one_logit", "scalar"])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.figure < passed.limit


@pytest.mark.parametrize(
    "spec",
    ["captum:Saliency", "captum:IntegratedGradients", "captum:LayerGradCam", "captum:SmoothGrad"],
)
def test_methods_that_depend_on_the_weights_pass(spec, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == "passed"


@pytest.mark.parametrize(
    "spec, figure",
    [
        ("control:EdgeDetector", 1),
        ("control:InputItself", 1),
        ("control:RandomMap", 1),
        ("captum:GuidedBackprop", None),
    ],
)
def test_what_is_blind_to_the_weights_fails(spec, figure, verdict, digits):
    """Guided backpropagation is nearly so (Adebayo 2018); the controls are at every step."""
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert failed.reason.startswith("The map shows the input, not the model")
    assert figure is None or failed.figure == pytest.approx(figure, abs=1e-12)


def test_a_constant_map_cannot_tell(verdict, digits):
    unknown = verdict(CHECK, explainers.get("control:ConstantMap"), digits)
    assert unknown.outcome == "undecided"
    assert unknown.reason == "No image can tell. 128 left out: constant maps."


# -------------------------------------------------------------------------------------- the cascade


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


# --------------------------------------------------------------------------------------- the figure


class Mirrored(nn.Module):
    """Two logits that are each other with the sign turned, of a table."""

    def __init__(self, seed):
        super().__init__()
        self.body = models.chain(8, 1, seed=seed)

    def forward(self, inputs):
        score = self.body(inputs)
        return torch.cat([score, -score], 1)


@pytest.mark.parametrize("seed", range(6))
def test_opposite_maps_of_two_classes_are_no_null(seed, verdict):
    """They have a rank correlation of -1: halfway to it lies 0, where all unrelated maps are."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(64, 8, generator=generator).double()
    subject = xai.Subject(Mirrored(seed), inputs)
    passed = verdict(CHECK, gradient, subject, seed=seed)
    assert passed.outcome != "failed"
    assert "unrelated maps -1" in passed.reason
    assert passed.limit == pytest.approx(0.5)


@pytest.mark.parametrize("subject", ["digits", "table"])
def test_the_figure_is_the_mean_rank_correlation_over_the_steps(
    subject, recorder, finding, request
):
    """With the sign, against SciPy, and the null of the nearest image of another target."""
    asked = recorder(gradient)
    found, bench = finding(CHECK, asked, request.getfixturevalue(subject))
    original, *later = [maps.flatten(1).double() for maps in asked.maps]

    def correlations(ones, others):
        return torch.tensor(
            [spearmanr(a, b).statistic for a, b in zip(ones, others, strict=True)]
        ).double()

    steps = torch.stack([correlations(maps, original) for maps in later])
    assert torch.allclose(found.values, steps.mean(0))
    assert torch.allclose(found.facts["head drawn anew"], steps[0])
    assert torch.allclose(found.facts["all drawn anew"], steps[-1])
    targets = bench.targets.tolist()
    partners = [
        next(
            other % 32
            for other in range(place + 1, place + 33)
            if targets[other % 32] != targets[place]
        )
        for place in range(32)
    ]
    null = correlations(original, original[partners])
    assert torch.allclose(found.facts["unrelated maps"], null)
    assert torch.allclose(found.limits, (1 + null.clamp_min(0)) / 2)
    assert found.value_range == (-1.0, 1.0)
    assert (found.values < 0).any()  # the sign is kept


class Turning:
    """A map that is the input, with its sign turned when the head was drawn anew."""

    def __init__(self, head):
        self.head = head.clone()

    def __call__(self, model, inputs, targets):
        same = torch.equal(model.get_submodule("fc2").weight, self.head)
        return inputs if same else -inputs


def test_a_turned_sign_is_a_change(verdict, digits):
    passed = verdict(CHECK, Turning(digits.model.fc2.weight), digits)
    assert passed.outcome == "passed"
    assert passed.figure == pytest.approx(-1)


def test_all_steps_count_alike(finding, digits):
    """Three steps of 1 and the last of -1: a mean of 1/2."""

    def explain(model, inputs, targets):
        trained = torch.equal(model.conv1.weight, digits.model.conv1.weight)
        return inputs if trained else -inputs

    found, _ = finding(CHECK, explain, digits)
    assert torch.allclose(found.values, torch.tensor(0.5).double())
    for name, expected in {"head drawn anew": 1.0, "all drawn anew": -1.0}.items():
        assert torch.allclose(found.facts[name], torch.tensor(expected).double())


def test_structural_similarity_stands_beside_for_images_only(finding, digits, table):
    found, _ = finding(CHECK, lambda model, inputs, targets: inputs, digits)
    assert torch.allclose(found.facts["SSIM"], torch.tensor(1.0).double())
    assert (found.facts["SSIM of unrelated maps"] < 1).all()
    found, _ = finding(CHECK, gradient, table)
    assert "SSIM" not in found.facts
