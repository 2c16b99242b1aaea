"""Perturbations of the inputs by rounding, and the limits that follow from their effect."""

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from pytest_xai.checks._twins import Twin, moved, steady, tolerance
from pytest_xai.protocol import named

EPS = torch.finfo(torch.float64).eps


@pytest.fixture
def bench():
    inputs = torch.tensor([[1.0, 0.5, -2.0], [-4.0, 0.0, 1.0]]).double()
    made = xai.Bench(xai.Subject(models.chain(3, 2), inputs))
    yield made
    made.close()


def changes(bench, **options):
    """What is added to the inputs, one draw after the other, in units of eps."""
    inputs = bench.inputs
    return [
        (other - inputs) / EPS
        for other in moved(bench, torch.clone, inputs, dtype=torch.float64, **options)
    ]


def test_every_input_moves_by_four_units_of_the_largest_either_way(bench):
    found = torch.stack(changes(bench))
    largest = bench.inputs.abs().amax(1)[:, None].expand(2, 3)
    assert len(found) == 8
    assert torch.equal(found.abs(), (4 * largest).expand_as(found))
    assert len(found.sign().unique(dim=0)) > 4


def test_or_by_four_units_of_its_own_where_zeros_stay(bench):
    found = torch.stack(changes(bench, each=True))
    assert len(found) == 32
    assert torch.equal(found.abs(), (4 * bench.inputs.abs()).expand_as(found))


def test_numbers_are_rounded_with_what_is_added_to_them(bench):
    found = changes(bench, each=True, beside=16.0)[0]
    expected = 4 * torch.where(bench.inputs == 0, 0, bench.inputs.abs() + 16)
    assert torch.allclose(found.abs(), expected, rtol=0.1)


def jumping(bench, *, at):
    """An explainer of ones, whose map is raised by a tenth at one of its calls."""
    calls = []

    def explain(inputs):
        calls.append(1)
        return torch.ones_like(inputs) * (1.25 if len(calls) == at else 1)

    return explain, calls


@pytest.mark.parametrize("at", [1, 3])
def test_moving_ends_with_the_draw_that_explains_the_difference(at, bench):
    explain, calls = jumping(bench, at=at)
    explainer = named(lambda model, inputs, targets: explain(inputs))
    maps = torch.ones(2, 3).double()
    limits, jumps = tolerance(bench, explainer, maps, torch.tensor([0.0, 1.9]))
    assert len(calls) == at
    assert jumps == pytest.approx(torch.full((2,), 0.2).double())
    assert limits == pytest.approx(torch.full((2,), 2.0).double())


def test_what_no_draw_explains_is_moved_by_all(bench):
    explain, calls = jumping(bench, at=3)
    explainer = named(lambda model, inputs, targets: explain(inputs))
    limits, _ = tolerance(bench, explainer, torch.ones(2, 3).double(), torch.tensor([0.0, 2.1]))
    assert len(calls) == 8
    assert (limits < 2.1).all()


def steadied(bench, values):
    """Limits of maps of ones that any rounding of an input of 1 raises by a tenth of one."""

    def explain(inputs):
        return torch.ones_like(inputs) + 0.1 * (inputs != bench.inputs)

    maps = torch.ones_like(bench.inputs)
    return steady(bench, explain, bench.inputs, maps, torch.tensor(values).double())


def test_each_image_has_the_limit_that_decides_it(bench):
    plain = bench.rounding_of(torch.ones_like(bench.inputs))
    limits = steadied(bench, [0.5, 0.95])
    wide = plain + 10 * 0.1 / 1.1
    assert limits[0] == pytest.approx(wide[0].item())
    assert limits[1] == plain[1]  # more than rounding does


def test_a_map_that_differs_when_asked_again_owes_nothing_to_rounding(bench):
    calls = []

    def explain(inputs):
        calls.append(1)
        return torch.ones_like(inputs) + 0.1 * len(calls)

    maps = torch.ones_like(bench.inputs)
    limits = steady(bench, explain, bench.inputs, maps, torch.full((2,), 0.5).double())
    assert torch.equal(limits, bench.rounding_of(maps))


def test_nothing_is_added_to_the_inputs_unless_it_is_said(bench):
    seen = []

    def explain(inputs):
        seen.append(((inputs - bench.inputs) / EPS).abs())
        return torch.ones_like(inputs)

    maps = torch.ones_like(bench.inputs)
    steady(bench, explain, bench.inputs, maps, torch.ones(2).double())
    assert torch.equal(seen[-1], 4 * bench.inputs.abs())


@pytest.mark.parametrize("device", [None, torch.device("meta")])
def test_a_twin_is_where_it_is_said_and_else_where_the_bench_is(device, bench):
    twin = Twin.of(bench, lambda model: model, device=device)
    assert twin.device == (torch.device("cpu") if device is None else device)
