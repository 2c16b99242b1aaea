"""Centres of mass and the earth mover distance against SciPy and the whole transport problem."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import center_of_mass
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures import centre_of_mass, centre_of_mass_shift, earth_mover

few = settings(derandomize=True, deadline=None, max_examples=25)
some_maps = arrays(np.float64, (3, 1, 3, 3), elements=st.integers(-4, 4).map(float))


def random_maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def point(row, column, shape=(4, 6), value=1.0):
    maps = torch.zeros(1, 1, *shape)
    maps[0, 0, row, column] = value
    return maps


def transported(a, b):
    """The cheapest plan from every pixel to every other, by its definition."""
    places = np.array(list(itertools.product(*map(range, a.shape))))
    cost = np.abs(places[:, None] - places[None]).sum(2)
    size = len(places)
    leaving = np.kron(np.eye(size), np.ones(size))
    coming = np.kron(np.ones(size), np.eye(size))
    mass = np.concatenate([(np.abs(each) / np.abs(each).sum()).ravel() for each in (a, b)])
    found = linprog(cost.ravel(), A_eq=np.concatenate([leaving, coming]), b_eq=mass)
    return found.fun / cost.max()


# ------------------------------------------------------------------------------ centre of mass


@pytest.mark.parametrize("shape", [(3, 2, 9), (3, 1, 5, 7), (2, 3, 4, 5, 3)])
def test_the_centre_is_that_of_scipy(shape):
    maps = random_maps(*shape)
    expected = [center_of_mass(np.abs(each)) for each in maps.sum(1).numpy()]
    torch.testing.assert_close(centre_of_mass(maps), torch.tensor(expected).double())


def test_the_shift_is_the_distance_of_the_centres_over_the_diagonal():
    a, b = random_maps(4, 2, 5, 7, seed=1), random_maps(4, 2, 5, 7, seed=2)
    for one, other, value in zip(a.numpy(), b.numpy(), centre_of_mass_shift(a, b), strict=True):
        centres = [np.array(center_of_mass(np.abs(each.sum(0)))) for each in (one, other)]
        expected = np.linalg.norm(centres[0] - centres[1]) / np.hypot(4, 6)
        assert value.item() == pytest.approx(expected, abs=1e-14)


def test_from_corner_to_corner_is_one():
    assert centre_of_mass_shift(point(0, 0), point(3, 5)).item() == 1.0
    assert centre_of_mass_shift(point(0, 5), point(3, 0)).item() == 1.0
    assert centre_of_mass_shift(point(1, 2), point(1, 2, value=-7.0)).item() == 0.0
    moved = centre_of_mass_shift(point(0, 1), point(3, 5))
    assert moved.item() == pytest.approx(5 / 34**0.5, abs=1e-15)


def test_a_shift_of_nothing_has_the_gradient_zero():
    maps = random_maps(2, 1, 3, 4).requires_grad_()
    centre_of_mass_shift(maps, maps.detach()).sum().backward()
    assert not maps.grad.any()


def test_the_centre_has_the_gradient_of_finite_differences():
    maps = random_maps(2, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(centre_of_mass, maps)


# -------------------------------------------------------------------------------- earth mover


@few
@given(some_maps, some_maps)
def test_earth_mover_is_the_cheapest_transport(one, other):
    values = earth_mover(torch.from_numpy(one), torch.from_numpy(other)).tolist()
    for a, b, value in zip(one[:, 0], other[:, 0], values, strict=True):
        if a.any() and b.any():
            assert value == pytest.approx(transported(a, b), abs=1e-7)
            assert 0 <= value <= 1
        else:
            assert np.isnan(value)


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 2, 2, 3)])
def test_on_other_axes_as_well(shape):
    a, b = random_maps(1, *shape, seed=3), random_maps(1, *shape, seed=4)
    expected = transported(a[0].sum(0).numpy(), b[0].sum(0).numpy())
    assert earth_mover(a, b).item() == pytest.approx(expected, abs=1e-9)


def test_along_one_axis_it_is_that_of_scipy():
    a, b = random_maps(3, 1, 20, seed=5), random_maps(3, 1, 20, seed=6)
    for one, other, value in zip(a, b, earth_mover(a, b), strict=True):
        weights = (each[0].abs().numpy() for each in (one, other))
        expected = wasserstein_distance(range(20), range(20), *weights) / 19
        assert value.item() == pytest.approx(expected, abs=1e-9)


def test_a_point_moves_by_its_way_along_the_axes():
    assert earth_mover(point(0, 1), point(3, 5)).item() == pytest.approx(7 / 8, abs=1e-9)
    assert earth_mover(point(0, 0), point(3, 5)).item() == pytest.approx(1.0, abs=1e-9)
    assert earth_mover(point(2, 2), point(2, 2)).item() == 0.0
    # Half of the mass stays.
    both = point(0, 0) + point(0, 4)
    assert earth_mover(both, point(0, 0)).item() == pytest.approx(2 / 8, abs=1e-9)


@few
@given(some_maps)
def test_the_way_over_a_third_map_is_no_shorter(maps):
    a, b, c = (torch.from_numpy(maps[i : i + 1]) for i in range(3))
    straight, round_about = earth_mover(a, c), earth_mover(a, b) + earth_mover(b, c)
    assert not (straight > round_about + 1e-7).any()
    # No centre moves further than the mass: |dy| + |dx| is not less than the straight distance.
    shifts = (centre_of_mass(a) - centre_of_mass(c)).abs().sum(1) / 4
    assert not (shifts > straight + 1e-7).any()


# --------------------------------------------------------------------------- what has no value


@pytest.mark.parametrize("measure", [centre_of_mass_shift, earth_mover])
def test_maps_without_mass_and_maps_of_one_pixel_have_no_distance(measure):
    ramp = torch.arange(12.0).reshape(1, 1, 3, 4)
    for empty in (torch.zeros_like(ramp), torch.full_like(ramp, torch.nan)):
        assert measure(empty, ramp).isnan().all()
        assert measure(ramp, empty).isnan().all()
    cancelling = torch.cat([ramp, -ramp], 1)
    assert measure(cancelling, cancelling).isnan().all()
    assert measure(torch.ones(2, 1, 1, 1), torch.ones(2, 1, 1, 1)).isnan().tolist() == [True] * 2
    constant = torch.ones_like(ramp)
    assert measure(constant, constant * 3).item() == pytest.approx(0, abs=1e-12)


def test_centres_of_no_mass_are_not_a_number():
    maps = random_maps(3, 1, 4, 4)
    maps[0], maps[1, 0, 0, 0] = 0, torch.inf
    assert centre_of_mass(maps).isnan().tolist() == [[True] * 2, [True] * 2, [False] * 2]


def test_tables_have_no_places():
    table = torch.ones(2, 9)
    with pytest.raises(InvalidArgument, match=r"^maps: got shape \(2, 9\), expected \(N, C, \*sp"):
        centre_of_mass(table)
    for measure in (centre_of_mass_shift, earth_mover):
        with pytest.raises(InvalidArgument, match=r"^map_a: got shape \(2, 9\), expected \(N, C"):
            measure(table, table)
