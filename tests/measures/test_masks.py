import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures import spatial, topk_mask

repeatable = settings(derandomize=True, deadline=None, max_examples=100)
tied_maps = st.integers(1, 12).flatmap(
    lambda size: arrays(np.float64, (3, size), elements=st.integers(-3, 3).map(float))
)


def brute_force(values, percent):
    """The rule of topk_mask for one map, read off its sorted values."""
    size = len(values)
    k = -(-percent * size // 100)
    ordered = sorted(values, reverse=True)
    if ordered[0] == ordered[-1]:
        return [False] * size
    if k == size:
        return [True] * size
    last, after = ordered[k - 1], ordered[k]
    if last == after == min(values):
        return [value > last for value in values]
    return [value >= last for value in values]


@repeatable
@given(tied_maps, st.integers(1, 100))
def test_agrees_with_the_rule_written_out(maps, percent):
    mask = topk_mask(torch.from_numpy(maps), percent / 100)
    assert mask.tolist() == [brute_force(values, percent) for values in maps.tolist()]


@pytest.mark.parametrize("size", [2, 3, 7, 10, 30, 64, 70, 100, 784])
def test_takes_exactly_k_distinct_values(size):
    maps = torch.arange(float(size)).roll(size // 2).unsqueeze(0)
    counted = [int(topk_mask(maps, percent / 100).sum()) for percent in range(1, 101)]
    assert counted == [-(-percent * size // 100) for percent in range(1, 101)]


def test_a_tenth_is_the_default():
    maps = torch.arange(60.0).reshape(1, 3, 4, 5)
    assert torch.equal(topk_mask(maps), maps >= 54)


@pytest.mark.parametrize(
    "values, expected",
    [
        ([5.0, -9.0, 4.0, 1.0], [1, 0, 1, 0]),  # signed: -9 is the smallest
        ([-1.0, -9.0, -4.0, -2.0], [1, 0, 0, 1]),
        ([5.0, 4.0, 4.0, 1.0], [1, 1, 1, 0]),  # a tie above the floor: all of it
        ([4.0, 4.0, 4.0, 1.0], [1, 1, 1, 0]),
        ([0.0, 5.0, 0.0, 0.0], [0, 1, 0, 0]),  # a tie at the floor: none of it
        ([5.0, 0.0, -0.0, -0.0], [1, 0, 0, 0]),
        ([3.0, 3.0, 3.0, 3.0], [0, 0, 0, 0]),
        ([5.0, 6.0, torch.nan, 1.0], [0, 0, 0, 0]),
        ([5.0, 6.0, torch.inf, 1.0], [0, 0, 0, 0]),
        ([5.0, 6.0, -torch.inf, 1.0], [0, 0, 0, 0]),
    ],
)
def test_top_half_of_four(values, expected):
    assert topk_mask(torch.tensor([values]), 0.5).int().tolist() == [expected]


@pytest.mark.parametrize("fraction", [1, 1.0])
def test_the_whole_map_includes_its_floor(fraction):
    maps = torch.tensor([[0.0, 5.0, 0.0], [2.0, 2.0, 2.0]])
    assert topk_mask(maps, fraction).tolist() == [[True] * 3, [False] * 3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_mask_has_the_shape_of_the_maps(dtype):
    maps = torch.arange(48.0).reshape(2, 2, 3, 4).to(dtype).requires_grad_()
    mask = topk_mask(maps, 0.25)
    assert mask.dtype == torch.bool
    assert mask.shape == maps.shape
    assert mask.flatten(1).sum(1).tolist() == [6, 6]


def test_memory_layout_makes_no_difference():
    maps = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    strided = maps.contiguous(memory_format=torch.channels_last)
    assert torch.equal(topk_mask(strided, 0.2), topk_mask(maps, 0.2))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.0001, float("nan"), float("inf")])
def test_refuses_what_is_no_share(fraction):
    with pytest.raises(InvalidArgument, match=r"^fraction: got .*, expected a number above 0"):
        topk_mask(torch.ones(1, 3), fraction)


@pytest.mark.parametrize("function", [topk_mask, spatial])
@pytest.mark.parametrize("maps", [torch.ones(3), torch.ones(3, 2, dtype=torch.bool), "maps"])
def test_refuses_what_is_no_batch_of_maps(function, maps):
    with pytest.raises(InvalidArgument, match=r"^maps: got .*, expected a floating tensor"):
        function(maps)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6)])
def test_spatial_sums_the_channels_with_their_signs(shape):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    summed = spatial(maps.requires_grad_())
    assert summed.shape == (2, *shape[2:])
    assert summed.dtype == torch.float64
    assert summed.requires_grad
    torch.testing.assert_close(summed, sum(maps.detach().double().unbind(1)))


def test_spatial_adds_up_in_float64():
    maps = torch.tensor([[[2048.0], [1.0], [-2048.0]]], dtype=torch.float16)
    assert spatial(maps).tolist() == [[1.0]]


def test_spatial_leaves_tables_as_they_are():
    assert spatial(torch.tensor([[1.0, -2.0]])).tolist() == [[1.0, -2.0]]
