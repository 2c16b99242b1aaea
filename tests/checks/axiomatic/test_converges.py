"""More steps bring an integral along a path nearer to f(x) - f(x')."""

import functools

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import RULES, gradient, integrated_gradients, path_gradient
from pytest_xai import explainers
from pytest_xai.checks.axiomatic import converges

CHECK = "converges"
STEPS = [name for name, wrong in WRONG.items() if wrong.check == CHECK]


def by(rule):
    @xai.explainer(needs_baseline=True)
    def explain(*given, baseline, n_steps=8):
        return integrated_gradients(rule, n_steps)(*given, baseline=baseline)

    return explain


@pytest.mark.parametrize(
    "subject, rule",
    [
        *(("table", rule) for rule in RULES),
        *((subject, "gauss") for subject in ("digits", "normed", "one_logit", "scalar")),
        ("signal", "right"),
    ],
)
def test_right_rules_pass(rule, subject, verdict, request):
    passed = verdict(CHECK, by(rule), request.getfixturevalue(subject))
    assert (passed.outcome, passed.images, passed.limit) == ("passed", 4, 1)
    assert passed.figure < 0.7


@pytest.mark.parametrize("name", STEPS)
def test_wrong_ones_fail_on_a_tiny_model_too(name, verdict, table):
    failed = verdict(CHECK, WRONG[name].explainer, table)
    assert failed.outcome == "failed"
    assert failed.figure > 1


def test_what_is_asked_of_the_explainer(finding, table):
    asked = []

    @xai.explainer(needs_baseline=True)
    def explain(model, inputs, targets, baseline, steps=3):
        asked.append((steps, inputs.clone(), baseline.clone()))
        return path_gradient(model, inputs, targets, baseline=baseline, steps=steps)

    _, bench = finding(CHECK, explain, table)
    near = bench.inputs + (bench.baseline - bench.inputs) / 32
    expected = [
        (8, bench.inputs, bench.baseline),
        (64, bench.inputs, bench.baseline),
        (64, bench.baseline, bench.inputs),
        (8, bench.inputs, near),
    ]
    for (steps, inputs, baseline), (count, end, start) in zip(asked, expected, strict=True):
        assert steps == count
        assert torch.equal(inputs, end)
        assert torch.equal(baseline, start)


def test_the_gap_and_its_bound_of_a_parabola(finding):
    """f = x^2 from 0 to 2: slope 4 x along the path, variation 8, right sums 4 + 4/n."""
    model = Square()
    inputs = torch.full((32, 1), 2.0).double()
    found, _ = finding(CHECK, by("right"), xai.Subject(model, inputs))
    expected = {"gap, 8 steps": 4 / 8, "gap, 64 steps": 4 / 64, "gap, short path": 4 / 8 / 32**2}
    for name, value in expected.items():
        assert found.facts[name] == pytest.approx(torch.full((32,), value).double()), name
    bounds = {
        "bound, 8 steps": 8 / 8,
        "bound, 64 steps": 8 / 64,
        "bound, short path": 8 / 8 / 1024,
    }
    for name, value in bounds.items():
        # Float32's rounding of the step sizes is allowed for.
        assert found.facts[name] == pytest.approx(
            torch.full((32,), 1.5 * torch.pi * value).double(), rel=2e-3
        ), name
    # From 2 to 0 right sums are -(4 - 4/n): together 8/n, of twice the bound.
    assert found.facts["gap, swapped ends"] == pytest.approx(torch.full((32,), 8 / 64).double())
    assert found.values == pytest.approx(torch.full((32,), 1 / (3 * torch.pi)).double(), rel=2e-3)


class Square(nn.Module):
    """f = x^2 and its negative, without weights."""

    def forward(self, inputs):
        return torch.cat([inputs**2, -(inputs**2)], 1)


def test_midpoints_are_exact_on_a_line(finding):
    weight = torch.tensor([[1.0, -2.0], [0.5, 3.0]]).double()
    subject = xai.Subject(models.linear(weight), torch.rand(32, 2).double())
    found, _ = finding(CHECK, by("midpoint"), subject)
    assert (found.facts["gap, 64 steps"] < 1e-14).all()
    assert (found.values < 0.01).all()


def test_on_a_line_the_bounds_are_the_rounding_of_all_that_is_added(finding):
    """Sizes count: attributions of both signs, and outputs below zero at both ends."""
    subject = xai.Subject(
        models.linear(torch.tensor([[-2.0, 1.0, -4.0]]).double()),
        torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.5, 1.0]]).double(),
        torch.zeros(2).long(),
        baseline=torch.tensor([[0.5, -1.0, 0.25]]).double(),
    )
    found, bench = finding(CHECK, by("gauss"), subject)
    weight = torch.tensor([-2.0, 1.0, -4.0]).double()
    output, reference = bench.inputs @ weight, bench.baseline @ weight
    assert (output < 0).all()
    assert (reference < 0).all()
    terms = ((bench.inputs - bench.baseline) * weight).abs().sum(1)
    expected = (bench.rounding + torch.finfo(torch.float32).eps) * (
        terms + output.abs() + reference.abs()
    )
    for words, times in (("8 steps", 1), ("64 steps", 1), ("swapped ends", 2)):
        assert found.facts[f"bound, {words}"] == pytest.approx(times * expected, rel=1e-6)


def test_no_gap_is_none_whatever_the_bound():
    gaps, bounds = torch.tensor([0.0, 0.0, 1.0]).double(), torch.tensor([0.0, 2.0, 2.0]).double()
    assert converges._ratio(gaps, bounds).tolist() == [0, 0, 0.5]


@pytest.mark.parametrize("error, outcome", [(0.0, "passed"), (1e-3, "failed")])
def test_on_a_line_the_tolerance_is_that_of_rounding(error, outcome, verdict):
    @xai.explainer(needs_baseline=True)
    def explain(*given, baseline, steps=2):
        return (1 + error) * path_gradient(*given, baseline=baseline, steps=steps)

    subject = xai.Subject(models.linear(torch.ones(2, 3).double()), torch.rand(8, 3).double() + 1)
    assert verdict(CHECK, explain, subject).outcome == outcome


def equal_values(weight, norm, classes=2):
    """A normalisation of values that are all the same: nothing but their rounding comes out."""
    model = nn.Sequential(nn.Linear(1, classes), norm).double()
    nn.init.constant_(model[0].weight, weight)
    nn.init.zeros_(model[0].bias)
    inputs = torch.rand(4, 1, generator=torch.Generator().manual_seed(0)) * 300
    return xai.Subject(model, inputs.double(), baseline=120.0)


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle"])
@pytest.mark.parametrize(
    "weight, norm, classes",
    [(1.0, nn.GroupNorm(1, 2), 2), (0.75, nn.GroupNorm(2, 4), 4)],
)
def test_rounding_that_a_layer_magnifies_is_no_gap(weight, norm, classes, method, finding):
    """All that the outputs are is the rounding of the inputs, some hundred times as large."""
    ig = explainers.get("captum:IntegratedGradients", method=method)
    subject = equal_values(weight, norm, classes)
    found, bench = finding(CHECK, ig, subject)
    assert (found.values <= 1).all()
    assert bench.scores().abs().max() > 1e-13
    for name, bound in found.facts.items():
        assert (bound < 1e-7).all(), name


class Rough(nn.Module):
    """f = x, and a thousandth steeper, or less steep, by a multiple of 2^-30."""

    def __init__(self, steeper):
        super().__init__()
        self.steeper = steeper

    def forward(self, inputs):
        unit = inputs.detach() * 2.0**30
        beside = (unit != unit.round()) & ((unit - unit.round()).abs() < 1e-3)
        return inputs * (1 + self.steeper * beside.to(inputs))


@pytest.mark.parametrize("steeper", [1e-3, -1e-3])
@pytest.mark.parametrize("share, wide", [(0.027, True), (0.029, False)])
def test_the_bound_grows_by_ten_times_what_rounding_of_the_path_does(share, wide, steeper, finding):
    """Of both outputs 1e-3 x, and of the slope where a place of the path is such a multiple.

    Those are 33 of the 42 places of the whole path, and 4 of the 8 points of the short path.
    """

    @xai.explainer(needs_baseline=True)
    def explain(model, inputs, targets, baseline, steps=8):
        return (1 + share) * (inputs - baseline)

    inputs = torch.tensor([[1.0], [2.0], [4.0], [8.0]]).double()
    subject = xai.Subject(Rough(steeper), inputs, torch.zeros(4).long())
    found, bench = finding(CHECK, explain, subject)
    x = bench.inputs[:, 0]
    single = torch.finfo(torch.float32).eps + bench.rounding
    added = 10 * 1e-3 * (2 + 33 / 42) * x if wide else 0
    for words in ("8 steps", "64 steps"):
        assert found.facts[f"gap, {words}"] == pytest.approx(share * x)
        expected = single * ((1 + share) * x + x) + added
        assert found.facts[f"bound, {words}"] == pytest.approx(expected, rel=1e-6)
    near = single * ((1 + share) / 32 + 1 + 31 / 32) * x + 10 * 1e-3 * (2 + 4 / 8 / 32) * x
    assert found.facts["bound, short path"] == pytest.approx(near, rel=1e-6)
    assert ((found.values <= 1) == wide).all()


def test_what_is_more_than_rounding_is_a_gap_there_too(finding):
    @xai.explainer(needs_baseline=True)
    def explain(*given, baseline, steps=2):
        return path_gradient(*given, baseline=baseline, steps=steps) + 1e-7

    found, _ = finding(CHECK, explain, equal_values(1.0, nn.GroupNorm(1, 2)))
    assert (found.values > 1).all()


def test_a_norm_that_turns_near_the_baseline_is_within_the_bound(finding):
    """Near zero its slopes go up and down again between two of any 32 places."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    inputs = torch.rand(4, 3, generator=torch.Generator().manual_seed(2)) * 300
    found, _ = finding(CHECK, by("right"), xai.Subject(model, inputs.double()))
    assert (found.values < 0.9).all()


def test_an_exact_explainer_needs_no_more_steps(verdict):
    weight = torch.tensor([[1.0, -2.0], [0.5, 3.0]]).double()

    @xai.explainer(needs_baseline=True)
    def closed(model, inputs, targets, baseline, steps=1):
        return gradient(model, inputs, targets) * (inputs - baseline)

    subject = xai.Subject(models.linear(weight), torch.rand(8, 2).double())
    passed = verdict(CHECK, closed, subject)
    assert passed.outcome == "passed"
    assert passed.figure < 0.01
    failed = verdict(CHECK, closed, xai.Subject(Square(), torch.full((8, 1), 2.0).double()))
    assert failed.outcome == "failed"
    assert failed.reason.startswith("8 steps and 64 steps need the same number")


def test_an_exact_explainer_passes_where_an_integral_may_be_off(verdict):
    @xai.explainer(needs_baseline=True)
    def closed(model, inputs, targets, baseline, steps=1):
        return inputs**2 - baseline**2

    subject = xai.Subject(Square(), torch.full((8, 1), 2.0).double(), torch.zeros(8).long())
    assert verdict(CHECK, closed, subject).outcome == "passed"


@pytest.mark.parametrize("times, guilty", [(0.9, False), (1.5, True)])
def test_an_explainer_that_ignores_the_steps_may_be_off_by_rounding_only(times, guilty, finding):
    """f = x from 0: the bound is its rounding, of twice f(x)."""
    rounding = {}

    @xai.explainer(needs_baseline=True)
    def closed(model, inputs, targets, baseline, steps=1):
        return (inputs - baseline) * (1 + times * 2 * rounding["of one"])

    subject = xai.Subject(models.linear(torch.ones(1, 1).double()), torch.ones(4, 1).double())
    bench = xai.Bench(subject)
    rounding["of one"] = bench.rounding + torch.finfo(torch.float32).eps
    bench.close()
    found, _ = finding(CHECK, closed, subject)
    assert found.values.isinf().all() == guilty
    assert found.cause.startswith("8 steps and 64 steps need the same number") == guilty


def test_who_takes_no_steps_or_no_baseline_is_told_how(verdict, table):
    none = verdict(CHECK, integrated_gradients("gauss", 8), table)
    assert none.outcome == "not_applicable"
    assert (
        none.reason
        == "the explainer takes no number of steps: give it a keyword argument steps or n_steps"
    )
    bare = verdict(CHECK, lambda *given, steps=8: steps * gradient(*given), table)
    assert (bare.outcome, bare.reason) == (
        "not_applicable",
        "the explainer takes no baseline, so that the check cannot choose its path",
    )


# ------------------------------------------------------------------------------------- how to ask


def test_callables_are_asked_by_their_keyword():
    def explain(model, inputs, targets, *, n_steps=4):
        return n_steps

    for explainer in (explain, functools.partial(explain), xai.explainer(name="x")(explain)):
        adapted = xai.protocol.named(explainer, "other")
        assert adapted.with_steps(7)(None, None, None) == 7
        assert adapted.call(None, None, None) == 4
        # Under another name it is still asked.
        assert xai.protocol.named(adapted, "third").with_steps(9)(None, None, None) == 9


def test_callables_without_a_keyword_cannot_be_asked():
    assert xai.protocol.named(gradient).with_steps is None
    assert xai.protocol.named(dict.fromkeys).with_steps is None
    assert explainers.get("captum:Saliency").with_steps is None


def test_the_gallery_is_built_again_with_its_other_options(table):
    built = explainers.get("captum:IntegratedGradients", method="riemann_left", steps=5)
    given = table.model, table.inputs[:2], table.targets[:2]
    maps = built.with_steps(3)(*given, baseline=table.baseline)
    expected = integrated_gradients("left", 3)(*given, baseline=table.baseline)
    assert torch.allclose(maps, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle", "riemann_right"])
def test_integrated_gradients_of_captum_pass(method, verdict, digits):
    ig = explainers.get("captum:IntegratedGradients", method=method)
    assert "converges" in ig.traits.claims
    assert verdict(CHECK, ig, digits).outcome == "passed"


def test_trapezoids_of_captum_are_low_by_one_in_n(verdict):
    """Its weights add up to 7/8 for 8 steps: on a line f the gap is an eighth of f(x) - f(x')."""
    subject = xai.Subject(models.linear(torch.ones(1, 3).double()), torch.ones(4, 3).double())
    ig = explainers.get("captum:IntegratedGradients", method="riemann_trapezoid")
    failed = verdict(CHECK, ig, subject)
    assert failed.outcome == "failed"
    assert "one step too many or too few" in failed.reason
    facts = failed.counterexample["facts"]
    assert facts["gap, 8 steps"] == pytest.approx(3 / 8)
    assert facts["gap, short path"] == pytest.approx(3 / 8 / 32)
