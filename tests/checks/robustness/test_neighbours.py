"""Perturbed copies: which they are, which of them count, what they cost, and who sees what."""

import itertools

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.loops import crossed
from fixtures.right import gradient, input_x_gradient, integrated_gradients, smooth_gradient
from fixtures.wrong.robustness import amplified, restless, turned_once_in, wavering
from pytest_xai import checks, explainers
from pytest_xai.checks.robustness._neighbours import COPIES, largest, neighbours, perturbed
from pytest_xai.core.seeds import seeded
from pytest_xai.engine.run_check import run_check
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.protocol import named

SIX = (
    "avg_sensitivity",
    "local_lipschitz",
    "max_sensitivity",
    "relative_input_stability",
    "relative_output_stability",
    "relative_representation_stability",
)
ALL = ("continuity", *SIX)


# ------------------------------------------------------------------------------- right and wrong


@pytest.fixture
def verdicts(task_of):
    """Verdicts of several checks on one explainer, on one bench."""

    def run(names, explainer, subject):
        bench = xai.Bench(subject)
        try:
            return {name: run_check(bench, task_of(name, named(explainer))) for name in names}
        finally:
            bench.close()

    return run


@pytest.mark.parametrize(
    *crossed(
        [gradient, input_x_gradient, integrated_gradients(steps=8), smooth_gradient],
        ["gradient", "product", "ig", "smooth"],
        subjects=["digits", "normed", "table", "signal", "one_logit", "scalar"],
    )
)
def test_right_explainers_pass(explainer, subject, verdicts, request):
    for passed in verdicts(SIX, explainer, request.getfixturevalue(subject)).values():
        assert passed.outcome == "passed"
        assert passed.figure < 0.25


@pytest.mark.parametrize(
    "explainer, subject, blind",
    [
        pytest.param(amplified(gain=400), "digits", {"continuity"}, id="amplified"),
        pytest.param(
            wavering(amplitude=0.3, gain=2000),
            "digits",
            {"continuity", "max_sensitivity", "avg_sensitivity"},
            id="wavering",
        ),
        pytest.param(turned_once_in(8), "table", {"continuity", "avg_sensitivity"}, id="rarely"),
        pytest.param(turned_once_in(2), "digits", set(), id="often"),
        pytest.param(
            restless(amplitude=0.2, gain=150),
            "borderline",
            {"continuity", "max_sensitivity", "avg_sensitivity", "local_lipschitz"},
            id="out of proportion",
        ),
        pytest.param(
            restless(amplitude=0.2, gain=80),
            "borderline",
            set(ALL) - {"relative_output_stability"},
            id="what outputs ignore",
        ),
    ],
)
def test_each_defect_is_seen_by_the_checks_made_for_it(
    explainer, subject, blind, verdicts, request
):
    """Which of them cannot see it is known as well: six names are not one check."""
    for name, judged in verdicts(ALL, explainer, request.getfixturevalue(subject)).items():
        if name in blind:
            assert judged.outcome in {"passed", "undecided", "not_applicable"}
        elif judged.outcome != "not_applicable":
            assert judged.outcome == "failed"
            assert judged.figure > 0.6


def test_only_the_representation_shows_what_it_alone_ignores(verdicts, two_ways):
    """The outputs follow half of the input that the representation does not see."""
    found = verdicts(ALL, restless(amplitude=4, gain=50), two_ways)
    outcomes = {name: judged.outcome for name, judged in found.items()}
    assert outcomes.pop("relative_representation_stability") == "failed"
    assert set(outcomes.values()) == {"passed"}


@pytest.mark.parametrize(
    "name",
    [
        "EdgeDetector",
        "ConstantMap",
        pytest.param("InputItself", marks=pytest.mark.slow),
        pytest.param("RandomMap", marks=pytest.mark.slow),
    ],
)
def test_controls_are_stable_and_not_good_for_that(name, verdicts, digits):
    """None of them looks at the model: other checks notice."""
    noticed = ("target_sensitive", "mprt_cascading", "random_logit")
    found = verdicts((*ALL, *noticed), explainers.get(f"control:{name}"), digits)
    for check, judged in found.items():
        assert judged.outcome == ("failed" if check in noticed else "passed"), check


def test_a_constant_map_is_held_to_rounding(finding, digits):
    """Its null is nothing, and so is its change."""
    for name in ALL:
        found, _ = finding(name, lambda model, inputs, targets: inputs * 0 + 1, digits)
        assert (found.values == 0).all()
        assert ((found.limits > 0) & (found.limits < 1)).all()


# ------------------------------------------------------------------------------------- the copies


@pytest.mark.parametrize("subject", ["digits", "table", "signal"])
def test_copies_are_within_the_bounds_at_two_distances(subject, bench_of, request):
    bench = bench_of(request.getfixturevalue(subject))
    low, high = bench.bounds
    radius = 0.005 * (high - low) * bench.inputs[0].numel() ** 0.5
    steps = []
    for number in range(COPIES):
        copies = perturbed(bench, number)
        assert copies.min() >= low
        assert copies.max() <= high
        steps.append((copies - bench.inputs).double().flatten(1))
        reach = radius if number < 4 else radius / 2
        assert torch.allclose(steps[-1].norm(dim=1), torch.tensor(reach).double(), rtol=1e-4)
    for one, other in itertools.combinations(steps, 2):
        assert not torch.isclose(one, other).all(1).any()


def test_explainers_of_one_name_share_nothing(bench_of, digits):
    bench = bench_of(digits)
    first = neighbours(bench, named(gradient, "mine"))
    second = neighbours(bench, named(input_x_gradient, "mine"))
    assert not torch.equal(first.change, second.change)
    assert torch.equal(first.distance, second.distance)


def test_another_seed_has_other_copies(bench_of, digits):
    ours, theirs = (perturbed(bench_of(digits, seed=seed), 0) for seed in (0, 1))
    assert not torch.equal(ours, theirs)


def test_noise_of_the_same_seed_is_no_change(verdicts, digits):
    @xai.explainer(stochastic=True)
    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) + 10 * torch.randn_like(inputs)

    found = verdicts(SIX, explain, digits)
    assert {judged.outcome for judged in found.values()} == {"passed"}


def test_noise_that_is_drawn_anew_fails_all(verdicts, digits):
    own = torch.Generator().manual_seed(0)

    @xai.explainer(stochastic=True)
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps + 10 * torch.randn(maps.shape, generator=own)

    found = verdicts(SIX, explain, digits)
    assert {judged.outcome for judged in found.values()} == {"failed"}


# ------------------------------------------------------------------------------ which of them count


def test_the_map_that_changed_most_is_one_of_those_that_kept_the_prediction(
    bench_of, near_the_border, wild_beyond
):
    bench = bench_of(near_the_border)
    wild, tame = (neighbours(bench, named(each)) for each in (wild_beyond, input_x_gradient))
    assert not wild.held.all()
    assert torch.equal(wild.farthest, tame.farthest)
    assert (wild.change > tame.change).any()


def test_the_largest_of_what_counts():
    figures = torch.tensor([[1.0, 5.0, 2.0], [4.0, torch.nan, 3.0], [1.0, 2.0, torch.nan]])
    held = torch.tensor([[True, False, True], [True, False, True], [True, True, True]])
    assert largest(figures, held)[:2].tolist() == [2.0, 4.0]
    assert largest(figures, held)[2].isnan()
    assert largest(figures, ~torch.ones_like(held)).isnan().all()


# -------------------------------------------------------------------------- what changes relative


def test_a_step_is_relative_to_each_value_or_a_tenth_of_the_range(bench_of):
    inputs = 4 * torch.rand(32, 6, generator=torch.Generator().manual_seed(0)).double() - 1
    bench = bench_of(xai.Subject(models.chain(6, 3), inputs, bounds=(-1, 3)))
    near = neighbours(bench, named(gradient))
    for number in (0, 7):
        step = perturbed(bench, number) - bench.inputs
        expected = (step / bench.inputs.abs().clamp(min=0.1 * 4)).norm(dim=1)
        assert torch.allclose(near.relative_distance[:, number], expected)


def test_of_a_constant_map_the_limits_are_its_rounding(bench_of, table):
    bench = bench_of(table)
    near = neighbours(bench, named(lambda model, inputs, targets: 0 * inputs + 3))
    size = 20**0.5
    assert torch.allclose(near.limit, torch.tensor(bench.rounding * 3 * size).double(), atol=0)
    expected = torch.tensor(bench.rounding * size).double()
    assert torch.allclose(near.relative_limit, expected, atol=0)


# ------------------------------------------------------------------------------ the representation


def test_the_representation_is_what_the_last_layer_reads(bench_of, digits_double):
    bench = bench_of(digits_double)
    near = neighbours(bench, named(gradient))
    *_, head = (each for each in bench.subject.model.modules() if isinstance(each, nn.Linear))
    read = []
    handle = head.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    with torch.no_grad():
        for inputs in (bench.inputs, perturbed(bench, 3)):
            bench.subject.model(inputs)
    handle.remove()
    here, there = read
    assert here.shape != bench.inputs.shape
    divisor = torch.maximum(here.abs(), 0.1 * here.abs().amax(1, keepdim=True))
    expected = ((there - here) / divisor).norm(dim=1)
    assert torch.allclose(near.representation_change[:, 3], expected)


class Scaling(nn.Module):
    """A last layer that is told a factor after what it reads."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 4), Scaled(4, 3)

    def forward(self, inputs):
        return self.head(self.hidden(inputs), inputs.new_ones(len(inputs), 1))


class Scaled(nn.Linear):
    def forward(self, inputs, factor):
        return super().forward(inputs) * factor


def test_of_several_arguments_the_last_layer_reads_the_first(bench_of):
    bench = bench_of(xai.Subject(Scaling().eval(), torch.rand(32, 6), bounds=(0, 1)))
    change = neighbours(bench, named(gradient)).representation_change
    assert (change > 1e-4).all()


class Rowless(nn.Sequential):
    """Its last layer reads all images as one row."""

    def forward(self, inputs):
        flat = self[0](inputs).reshape(1, -1)
        return self[1](flat.reshape(-1, 3)[None])[0]


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(6, 3),
        nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.Softmax(1)),
        Rowless(nn.Linear(6, 3), nn.Linear(3, 3)),
    ],
    ids=["one layer", "one layer of three", "no rows"],
)
def test_where_there_is_no_representation_it_does_not_apply(model, verdict):
    subject = xai.Subject(model.eval(), torch.rand(16, 6), bounds=(0, 1))
    nothing = verdict("relative_representation_stability", input_x_gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason.startswith("the model has no representation")
    assert verdict("relative_output_stability", input_x_gradient, subject).outcome == "passed"


def test_explainers_meet_none_of_our_hooks(bench_of, digits):
    """A guard would take them away after the explainer, and for the explainer's doing."""
    met = []

    def explain(model, inputs, targets):
        met.append(sum(len(module._forward_pre_hooks) for module in model.modules()))
        return gradient(model, inputs, targets)

    neighbours(bench_of(digits), named(explain))
    assert len(met) == COPIES + 1
    assert len(set(met)) == 1


# ------------------------------------------------------------------------------------------ misuse


@pytest.mark.parametrize("name", SIX)
def test_one_image_has_no_null(name, verdict):
    subject = xai.Subject(models.chain(4, 3, 2), torch.rand(1, 4).double(), bounds=(0, 1))
    nothing = verdict(name, gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason.startswith("needs two images or more")


def test_inputs_of_one_value_have_no_range(bench_of):
    bench = bench_of(xai.Subject(models.chain(4, 3, 2), torch.ones(8, 4).double()))
    with pytest.raises(NotApplicable, match=r"pass Subject\(bounds=\(low, high\)\)"):
        neighbours(bench, named(gradient))


def test_a_map_of_another_shape_is_refused(bench_of, normed):
    calls = itertools.count()

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps if next(calls) == 0 else maps.sum(1, keepdim=True)

    with pytest.raises(InvalidArgument, match="^map of a perturbed input: got shape"):
        neighbours(bench_of(normed), named(explain))


def test_global_generators_are_untouched(bench_of, digits):
    bench = bench_of(digits)
    with seeded(5):
        expected = torch.rand(1)
    with seeded(5):
        neighbours(bench, named(gradient))
        assert torch.equal(torch.rand(1), expected)


def test_every_wrong_explainer_of_the_family_is_known():
    ours = {
        wrong.check for wrong in WRONG.values() if checks.get(wrong.check).family == "robustness"
    }
    assert ours == set(ALL)
