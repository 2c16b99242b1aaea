"""The map follows from the values of the inputs, not from their place in memory."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import (
    gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai.checks._twins import tolerance
from pytest_xai.checks.contract import memory_format_consistent
from pytest_xai.protocol import named

CHECK = "memory_format_consistent"
RIGHT = [gradient, input_x_gradient, integrated_gradients("gauss", 8), occlusion]


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "scalar"])
@pytest.mark.parametrize("explainer", RIGHT, ids=lambda each: each.__name__)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.images) == ("passed", 4)
    assert passed.figure <= passed.limit < 1e-3


def layouts(finding, subject, explainer=gradient):
    """What the explainer was given: shapes, strides of inputs and of the first kernels."""
    given = []

    def explain(model, inputs, targets):
        kernels = next((p for p in model.parameters() if p.ndim > 3), torch.zeros(1))
        given.append((tuple(inputs.shape), inputs.stride(), inputs.clone(), kernels.stride()))
        return explainer(model, inputs, targets)

    found, bench = finding(CHECK, explain, subject)
    return given, found, bench


def test_the_layouts_of_images(finding, normed):
    """Images (2, 6, 5): contiguous, channels last with such weights, sliced, one memory for two."""
    given, found, bench = layouts(finding, normed)
    plain, last, sliced, expanded, twice = given
    assert plain[1] == (60, 30, 5, 1)
    assert last[1] == (60, 1, 10, 2)
    assert plain[3] == (18, 9, 3, 1)
    assert last[3] == (18, 1, 6, 2)
    assert sliced[1] == (2 * 6 * 11, 6 * 11, 11, 2)
    assert expanded[:2] == ((2, 2, 6, 5), (0, 30, 5, 1))
    assert twice[1] == (60, 30, 5, 1)
    for each in (plain, last, sliced):
        assert torch.equal(each[2], bench.inputs)
    for each in (expanded, twice):
        assert torch.equal(each[2], bench.inputs[[0, 0]])
    changes = [f"change {name}" for name in ("channels-last", "sliced", "expanded")]
    assert list(found.facts) == [*changes, "change by rounding"]


def test_two_images_are_enough_for_one_memory(recorder, finding):
    """Of the first one alone, with its own target and baseline."""
    asked = recorder(integrated_gradients("gauss", 2), needs_baseline=True)
    inputs, baseline = torch.rand(2, 4).double(), torch.rand(2, 4).double()
    subject = xai.Subject(models.chain(4, 3), inputs, torch.tensor([0, 2]), baseline=baseline)
    found, bench = finding(CHECK, asked, subject)
    assert list(found.facts) == ["change sliced", "change expanded", "change by rounding"]
    for given, own in (
        (asked.inputs, bench.inputs),
        (asked.targets, bench.targets),
        (asked.baselines, bench.baseline),
    ):
        for at in (-2, -1):
            assert torch.equal(given[at], own[[0, 0]])


def test_the_layouts_of_tables_and_volumes(finding, table):
    given, *_ = layouts(finding, table)
    assert [each[1] for each in given] == [(20, 1), (41, 2), (0, 1), (20, 1)]
    model = nn.Sequential(nn.Conv3d(2, 3, 2), nn.Flatten(), nn.Linear(3, 2)).eval()
    given, *_ = layouts(finding, xai.Subject(model, torch.rand(3, 2, 2, 2, 2)))
    assert given[1][1] == (16, 1, 8, 4, 2)
    assert given[1][3] == (16, 1, 8, 4, 2)


@pytest.mark.parametrize(
    "name, subject, guilty",
    [
        ("reads its inputs in the order of memory", "normed", "channels-last, sliced"),
        ("reads its inputs in the order of memory", "table", "sliced"),
        ("ignores that its inputs are channels-last", "normed", "channels-last"),
    ],
)
def test_the_layouts_that_change_the_map_are_named(name, subject, guilty, verdict, request):
    failed = verdict(CHECK, WRONG[name].explainer, request.getfixturevalue(subject))
    assert failed.outcome == "failed"
    assert failed.figure > 0.1
    assert failed.reason.startswith(
        f"The map changes when the inputs are {guilty}: the explainer reads"
    )


def test_the_figure_is_the_change_of_the_map(finding, table):
    """Raised by a tenth where the inputs are not contiguous."""

    def explain(model, inputs, targets):
        maps = torch.ones_like(inputs, memory_format=torch.contiguous_format)
        return maps * (1 if inputs.is_contiguous() else 1.25)

    found, _ = finding(CHECK, explain, table)
    assert found.values == pytest.approx(torch.full((32,), 0.2).double())
    expanded = found.facts["change expanded"]
    assert expanded[0] == pytest.approx(0.2)
    assert expanded[1:].isnan().all()


def test_a_view_that_raises_is_an_error_with_its_words(verdict, table):
    failed = verdict(CHECK, lambda *given: gradient(*given) + 0 * given[1].view(-1)[0], table)
    assert (failed.outcome, failed.fails_run) == ("error", True)
    assert "view size is not compatible" in failed.reason


class Flattening(nn.Module):
    """A model that takes contiguous inputs alone."""

    def __init__(self):
        super().__init__()
        self.layer = models.chain(30, 3)

    def forward(self, inputs):
        return self.layer(inputs.view(len(inputs), -1))


def test_what_the_model_does_not_take_is_left_out(finding, verdict):
    """An expanded image can be viewed, rows of a slice cannot."""
    subject = xai.Subject(Flattening(), torch.rand(4, 2, 3, 5).double())
    _, found, _ = layouts(finding, subject)
    assert list(found.facts) == ["change expanded", "change by rounding"]
    assert verdict(CHECK, gradient, subject).outcome == "passed"
    alone = xai.Subject(Flattening(), torch.rand(1, 2, 3, 5).double())
    judged = verdict(CHECK, gradient, alone)
    assert judged.reason == "the model accepts inputs of one memory layout only"


class Raw(nn.Module):
    """A model whose outputs depend on the order of memory."""

    def __init__(self, change):
        super().__init__()
        self.layer, self.change = models.chain(30, 3), change

    def forward(self, inputs):
        return self.layer(inputs.flatten(1)) + (0 if inputs.is_contiguous() else self.change)


@pytest.mark.parametrize("change", [0.1, -0.1])
def test_layouts_that_change_the_outputs_are_left_out(change, verdict):
    judged = verdict(CHECK, gradient, xai.Subject(Raw(change), torch.rand(4, 2, 3, 5).double()))
    assert judged.outcome == "not_applicable"
    assert judged.reason == "the model accepts inputs of one memory layout only"


def test_a_map_that_jumps_by_rounding_may_jump_by_its_layout(verdict):
    """Equal inputs, whose order another layout turns over by a rounding."""

    def explain(model, inputs, targets):
        tied = inputs.clone(memory_format=torch.contiguous_format)
        if not inputs.is_contiguous():
            tied[:, 1] *= 1 + 1e-15
        return (tied - tied.flip(1)).sign()

    equal = xai.Subject(models.chain(4, 3), torch.ones(4, 4).double())
    assert verdict(CHECK, explain, equal).outcome == "passed"
    apart = torch.tensor([[1.0, 0.5, 0.7, 0.2]]).double().repeat(4, 1)
    assert verdict(CHECK, explain, xai.Subject(models.chain(4, 3), apart)).figure == 0


def test_rounding_is_looked_at_only_where_it_decides(finding, table):
    """Ten times the larger change of two draws, where the limit of rounding is not kept."""
    bench = xai.Bench(table).view(0, 3)
    explainer = named(lambda _, inputs, __: (inputs - inputs.mean(1, keepdim=True)).sign())
    maps = bench.maps(explainer)
    small, unknown = tolerance(bench, explainer, maps, torch.zeros(3))
    assert torch.equal(small, bench.rounding_of(maps))
    assert unknown.isnan().all()
    linear = named(lambda _, inputs, __: inputs)
    maps = bench.maps(linear)
    limits, jumps = tolerance(bench, linear, maps, torch.ones(3))
    # Every input moves by 4 eps of the largest.
    eps = torch.finfo(torch.float64).eps
    assert jumps == pytest.approx(torch.full((3,), 4 * eps).double(), rel=0.3)
    assert torch.equal(limits, bench.rounding_of(maps) + 10 * jumps)
    bench.close()


def test_noise_follows_memory(verdict, digits):
    judged = verdict(CHECK, smooth_gradient, digits)
    assert judged.outcome == "not_applicable"
    assert "draws different random numbers for another memory layout" in judged.reason


@pytest.mark.parametrize("share, near", [(9.9, True), (10.1, False), (-9.9, True), (-10.1, False)])
def test_outputs_may_differ_by_ten_times_the_rounding_of_the_largest(share, near):
    expected = torch.tensor([[1.0, -4.0], [1.0, 0.5]]).double()
    moved = expected.clone()
    moved[0, 0] += share * 1e-6 * 4
    assert memory_format_consistent._near(moved, expected, 1e-6) is near


def test_empty_maps_cannot_tell(verdict, table):
    assert verdict(CHECK, lambda _, inputs, __: inputs * 0, table).outcome == "undecided"


def test_a_model_that_draws_gives_the_same_outputs_in_every_layout(finding):
    class Drawing(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) + torch.rand(len(inputs), 3).to(inputs)

    subject = xai.Subject(Drawing(4, 3).eval().double(), torch.rand(4, 4).double())
    found, _ = finding(CHECK, gradient, subject)
    assert list(found.facts) == ["change sliced", "change by rounding"]
