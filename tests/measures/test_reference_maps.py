"""Unrelated maps: whose they are, against brute force."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai.errors import NotApplicable
from pytest_xai.measures.reference_maps import halfway, other_images, unrelated


def nearest_of_another_target(targets):
    """For each position, walk on round the circle."""
    count = len(targets)
    found = []
    for here in range(count):
        circle = [(here + step) % count for step in range(1, count)]
        others = [there for there in circle if targets[there] != targets[here]]
        found.append(others[0] if others else circle[0])
    return found


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12))
def test_other_images_are_the_nearest_of_another_target(targets):
    assert other_images(torch.tensor(targets)).tolist() == nearest_of_another_target(targets)


def test_other_images_of_one_target_are_the_next_ones():
    assert other_images(torch.tensor([5, 5, 5])).tolist() == [1, 2, 0]


@pytest.mark.parametrize("count", [0, 1])
def test_there_is_no_other_image_of_one(count):
    with pytest.raises(
        NotApplicable, match="needs two images or more: the reference is the map of another image"
    ):
        other_images(torch.zeros(count, dtype=torch.long))


def test_unrelated_measures_each_map_against_another_image_s():
    maps = torch.tensor([[1.0], [10.0], [100.0]])
    values = unrelated(maps, torch.tensor([0, 0, 1]), lambda a, b: (a - b).squeeze(1))
    assert values.tolist() == [1 - 100, 10 - 100, 100 - 1]


def test_halfway_is_the_middle_and_keeps_not_a_number():
    far = torch.tensor([1.0, -3.0, torch.nan])
    assert halfway(1.0, far)[:2].tolist() == [1.0, -1.0]
    assert halfway(torch.tensor([0.0, 1.0, 1.0]), far)[:2].tolist() == [0.5, -1.0]
    assert halfway(1.0, far)[2].isnan()
