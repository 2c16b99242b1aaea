"""A feature that alone changes the output gets an attribution."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient, input_x_gradient, integrated_gradients, occlusion

CHECK = "sensitivity_a"


class Saturated(nn.Module):
    """1 - relu(1 - x): flat beyond 1, where the gradient is zero (Sundararajan 2017, sec. 2.1)."""

    def forward(self, inputs):
        return 1 - (1 - inputs.sum(1, keepdim=True)).relu()


class Sudden(nn.Module):
    """A jump close to where the way from zero begins, which few steps see."""

    def forward(self, inputs):
        return (1000 * inputs.sum(1, keepdim=True)).clamp(max=1)


@pytest.fixture(scope="module")
def saturated():
    return xai.Subject(Saturated(), torch.full((32, 3), 2.0).double() + torch.arange(32)[:, None])


@pytest.mark.parametrize("explainer", [integrated_gradients(), occlusion], ids=["ig", "occlusion"])
@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "scalar"])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    # Nothing else can have an attribution where the rest is the baseline.
    assert (passed.outcome, passed.figure) == ("passed", 1)
    assert passed.images >= 24


@pytest.mark.parametrize("explainer", [gradient, input_x_gradient], ids=["gradient", "product"])
def test_the_gradient_where_the_model_is_saturated_fails(explainer, verdict, saturated):
    failed = verdict(CHECK, explainer, saturated)
    assert (failed.outcome, failed.figure, failed.direction) == ("failed", 0, ">=")
    assert failed.counterexample["facts"]["change of the output"] == 1
    assert failed.counterexample["facts"]["attribution"] == 0
    assert "where the model is saturated" in failed.reason


def test_there_the_path_from_the_baseline_passes(finding, verdict, saturated):
    assert verdict(CHECK, integrated_gradients("gauss", 8), saturated).outcome == "passed"
    xs = saturated.inputs
    # Beyond 4 the change falls into the first quarter of the way.
    found, bench = finding(CHECK, integrated_gradients("gauss", 8), saturated)
    assert torch.equal(found.values.isnan(), bench.inputs[:, 0] >= 4)
    assert found.left_out["the output jumps on the path from the baseline"] == 30
    assert len(xs) == 32


@pytest.mark.parametrize("subject", ["table", "signal", "normed"])
def test_what_is_explained_differs_in_the_one_feature_that_changes_most(
    subject, recorder, finding, request
):
    subject = request.getfixturevalue(subject)
    asked = recorder(integrated_gradients("gauss", 8), needs_baseline=True)
    found, bench = finding(CHECK, asked, subject)
    (inputs,), (baseline,) = asked.inputs, asked.baselines
    assert torch.equal(baseline, bench.baseline)
    differs = inputs != baseline
    assert (differs.flatten(1).sum(1) == 1).all()
    assert torch.equal(inputs[differs], bench.inputs[differs])
    model, rows = subject.model, torch.arange(32)

    def score(images):
        return model(images)[rows, bench.targets].detach().double()

    change = (score(inputs) - score(baseline)).abs()
    assert torch.allclose(found.facts["change of the output"], change, atol=1e-6)
    # At least as large as that of the feature with the steepest first-order change.
    given = baseline.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(given)[rows, bench.targets].sum(), given)
    first = (slope * (bench.inputs - baseline)).flatten(1).abs().argmax(1)
    steepest = baseline.flatten(1).clone()
    steepest[rows, first] = bench.inputs.flatten(1)[rows, first]
    least = (score(steepest.view_as(inputs)) - score(baseline)).abs()
    assert (change >= least - 1e-6).all()


def test_the_figure_is_the_share_of_the_largest_value(finding, table):
    def explain(model, inputs, targets, baseline):
        maps = 3.0 * (inputs != baseline)
        maps[:, 0] -= 12
        return maps

    explain = xai.explainer(needs_baseline=True)(explain)
    found, _ = finding(CHECK, explain, table)
    told = found.values[~found.values.isnan()]
    # The first feature itself, where it is the one that differs, has 9 of 9.
    assert set(told.tolist()) <= {0.25, 1.0}
    assert 0.25 in told


@pytest.mark.parametrize("share, outcome", [(0.3, "failed"), (3.0, "passed")])
def test_zero_is_what_rounding_could_be(share, outcome, verdict, table):
    unit = 8 * torch.finfo(torch.float64).eps * (3 * 20) ** 0.5

    def explain(model, inputs, targets, baseline):
        return torch.where(inputs != baseline, share * unit, 1.0).double()

    assert verdict(CHECK, xai.explainer(needs_baseline=True)(explain), table).outcome == outcome


def only(model, inputs, targets, baseline):
    """All to the features that differ from the baseline, without asking the model."""
    return (inputs != baseline).double()


ONLY = xai.explainer(needs_baseline=True)(only)


class Written(nn.Module):
    """Values of f at five places of the way from 0 to 1, and straight lines between."""

    def __init__(self, *values):
        super().__init__()
        self.register_buffer("values", torch.tensor(values).double())

    def forward(self, inputs):
        place = (4 * inputs).clamp(0, 3.999999).floor()
        low, high = self.values[place.long()], self.values[place.long() + 1]
        return low + (high - low) * (4 * inputs - place)


@pytest.mark.parametrize(
    "values, told",
    [
        ((0.0, 0.75, 1.0, 1.0, 1.0), True),  # three quarters exactly
        ((0.0, 0.76, 1.0, 1.0, 1.0), False),
        ((0.0, 0.1, 0.1, 0.1, 1.0), False),
        ((0.0, 0.1, 1.0, 1.0, 1.0), False),
        ((0.0, 0.1, 0.1, 1.0, 1.0), False),
        ((0.0, 2.0, 1.0, 1.0, 1.0), True),  # up and down again is variation
        ((0.0, -0.7, -1.0, -1.0, -1.0), True),
    ],
)
def test_a_quarter_of_the_way_has_at_most_three_quarters_of_the_change(values, told, finding):
    subject = xai.Subject(Written(*values), torch.ones(2, 1).double())
    found, _ = finding(CHECK, ONLY, subject)
    assert found.values.isnan().tolist() == [not told] * 2
    assert found.left_out["the output jumps on the path from the baseline"] == (0 if told else 2)
    assert found.left_out["no single feature changes the output"] == 0


@pytest.mark.parametrize("offset", [1.0, -1.0])
@pytest.mark.parametrize("share, told", [(0.9, False), (1.1, True)])
def test_a_change_counts_beyond_the_rounding_of_both_outputs(share, told, offset, finding):
    """f = c + d x of inputs of 1: rounding is that of 2 c."""
    unit = 8 * torch.finfo(torch.float64).eps

    class Line(nn.Linear):
        def forward(self, inputs):
            return offset + share * 2 * unit * super().forward(inputs)

    model = Line(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    found, _ = finding(CHECK, ONLY, xai.Subject(model, torch.ones(2, 1).double()))
    assert found.values.isnan().tolist() == [not told] * 2
    assert found.left_out == {
        "no single feature changes the output": 0 if told else 2,
        "the output jumps on the path from the baseline": 0,
    }


def test_six_features_are_tried_the_steepest_and_as_many_that_are_drawn(finding, table):
    _, bench = finding(CHECK, ONLY, table)
    # Six features, three places between, the output and the slope; the baseline once for all.
    assert bench.counter.spent.forward == 32 * (6 + 3 + 1 + 1) + 1
    assert bench.counter.spent.backward == 32


def test_features_like_the_baseline_are_not_drawn(finding):
    """One of 40 differs; where there are no gradients it is found all the same."""

    class Sum(nn.Module):
        def forward(self, inputs):
            return inputs.sum(1, keepdim=True).detach()

    inputs = torch.zeros(8, 40).double()
    inputs[:, 7] = 1
    found, _ = finding(CHECK, ONLY, xai.Subject(Sum(), inputs))
    assert (found.facts["change of the output"] == 1).all()
    assert (found.values == 1).all()


def test_a_zero_map_fails(verdict, table):
    failed = verdict(CHECK, lambda model, inputs, targets: 0 * inputs, table)
    assert (failed.outcome, failed.figure) == ("failed", 0)


def test_a_map_without_channels_is_looked_at_by_place(verdict, normed, signal):
    def explain(model, inputs, targets, baseline):
        return (inputs - baseline).sum(1)

    explain = xai.explainer(needs_baseline=True)(explain)
    for subject in (normed, signal):
        assert verdict(CHECK, explain, subject).figure == 1

    def elsewhere(model, inputs, targets, baseline):
        return (inputs - baseline).sum(1).roll(1, -1)

    failed = verdict(CHECK, xai.explainer(needs_baseline=True)(elsewhere), normed)
    assert (failed.outcome, failed.figure) == ("failed", 0)


def test_images_that_cannot_tell_are_left_out(verdict):
    still = xai.Subject(models.linear(torch.zeros(2, 3).double()), torch.rand(32, 3).double())
    undecided = verdict(CHECK, integrated_gradients(), still)
    assert undecided.outcome == "undecided"
    assert "32 images left out: no single feature changes the output." in undecided.reason
    sudden = xai.Subject(Sudden(), 1 + torch.rand(32, 3).double())
    undecided = verdict(CHECK, integrated_gradients("right", 2), sudden)
    assert undecided.outcome == "undecided"
    assert "32 images left out: the output jumps on the path from the baseline." in undecided.reason


def test_a_model_without_gradients(verdict):
    class Steps(nn.Module):
        def forward(self, inputs):
            return (8 * inputs).round().cumsum(1).detach()

    subject = xai.Subject(Steps(), 1 + torch.rand(32, 5).double(), torch.full((32,), 4))
    assert verdict(CHECK, occlusion, subject).outcome == "passed"
