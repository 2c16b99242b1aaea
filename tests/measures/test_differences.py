import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures import l1_distance, relative_difference, share_beyond

repeatable = settings(derandomize=True, deadline=None, max_examples=100)
two_maps = st.integers(1, 9).flatmap(
    lambda size: arrays(np.float64, (2, 3, size), elements=st.integers(-9, 9).map(float))
)


def as_tensors(maps):
    return torch.from_numpy(maps[0]), torch.from_numpy(maps[1])


@repeatable
@given(two_maps)
def test_relative_difference_agrees_with_a_loop(maps):
    values = relative_difference(*as_tensors(maps)).tolist()
    for a, b, value in zip(*maps.tolist(), values, strict=True):
        largest = max(abs(v) for v in [*a, *b])
        if largest == 0:
            assert np.isnan(value)
        else:
            assert value == max(abs(x - y) for x, y in zip(a, b, strict=True)) / largest


@repeatable
@given(two_maps, st.sampled_from([0.0, 0.125, 0.5, 1.0, 3.0]))
def test_share_beyond_agrees_with_a_loop(maps, rtol):
    values = share_beyond(*as_tensors(maps), rtol=rtol).tolist()
    for a, b, value in zip(*maps.tolist(), values, strict=True):
        tolerance = rtol * max(abs(v) for v in [*a, *b])
        beyond = [abs(x - y) > tolerance for x, y in zip(a, b, strict=True)]
        assert value == pytest.approx(sum(beyond) / len(beyond), abs=1e-15)


@repeatable
@given(two_maps)
def test_l1_distance_agrees_with_a_loop(maps):
    values = l1_distance(*as_tensors(maps)).tolist()
    for a, b, value in zip(*maps.tolist(), values, strict=True):
        mass_a, mass_b = sum(map(abs, a)), sum(map(abs, b))
        if mass_a == 0 or mass_b == 0:
            assert np.isnan(value)
        else:
            apart = sum(abs(x / mass_a - y / mass_b) for x, y in zip(a, b, strict=True))
            assert value == pytest.approx(apart / 2, abs=1e-14)
            assert 0 <= value <= 1


@repeatable
@given(two_maps)
def test_share_beyond_is_zero_exactly_up_to_the_relative_difference(maps):
    a, b = as_tensors(maps)
    for n, largest in enumerate(relative_difference(a, b).tolist()):
        if not np.isnan(largest):
            assert share_beyond(a, b, rtol=largest * (1 + 1e-12))[n] == 0
            assert largest == 0 or share_beyond(a, b, rtol=largest * (1 - 1e-12))[n] > 0


def test_the_larger_of_both_maps_is_the_scale():
    a, b = torch.tensor([[1.0, 0.0, -2.0]]), torch.tensor([[1.0, 0.0, -8.0]])
    assert relative_difference(a, b).item() == 0.75
    assert relative_difference(b, a).item() == 0.75
    for pair in ((a, b), (b, a)):
        assert share_beyond(*pair, rtol=0.75).item() == 0.0
        assert share_beyond(*pair, rtol=0.74).item() == pytest.approx(1 / 3, abs=1e-15)


def test_a_difference_at_the_tolerance_is_none():
    a, b = torch.tensor([[4.0, 3.0, 2.0]]), torch.tensor([[4.0, 4.0, 4.0]])
    assert share_beyond(a, b, rtol=0.25).item() == pytest.approx(1 / 3, abs=1e-15)


def test_only_two_zero_maps_have_no_scale():
    zeros, some = torch.zeros(1, 4), torch.tensor([[0.0, 0.0, 1.0, -1.0]])
    assert relative_difference(zeros, zeros).isnan().all()
    assert relative_difference(some, zeros).item() == 1.0
    assert relative_difference(zeros, some).item() == 1.0
    assert share_beyond(some, zeros, rtol=0.5).item() == 0.5
    assert share_beyond(zeros, zeros, rtol=0.0).item() == 0.0


@pytest.mark.parametrize("rtol", [-1e-9, float("nan"), float("inf")])
def test_share_beyond_refuses_what_is_no_tolerance(rtol):
    with pytest.raises(InvalidArgument, match=r"^rtol: got .*, expected a finite number"):
        share_beyond(torch.ones(1, 2), torch.ones(1, 2), rtol=rtol)


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ((1.0, 3.0), (2.0, 6.0), 0.0),
        ((1.0, 0.0), (0.0, 5.0), 1.0),
        ((1.0, -1.0), (-3.0, 3.0), 1.0),  # all of the mass has the other sign
        ((3.0, 1.0), (1.0, 1.0), 0.25),
        ((1.0, 1.0), (1.0, -1.0), 0.5),
    ],
)
def test_l1_distance_is_the_share_of_mass_elsewhere(a, b, expected):
    assert l1_distance(torch.tensor([a]), torch.tensor([b])).item() == expected


def test_l1_distance_of_a_zero_map_is_undefined():
    zeros, some = torch.zeros(1, 4), torch.ones(1, 4)
    for pair in [(zeros, some), (some, zeros), (zeros, zeros)]:
        assert l1_distance(*pair).isnan().all()


def test_l1_distance_does_not_leave_the_range_by_rounding():
    maps = torch.rand(300, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    assert l1_distance(maps, -maps).max() <= 1
