import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures import (
    dice,
    dice_of_masks,
    iou,
    iou_of_masks,
    topk_intersection,
    topk_mask,
)

repeatable = settings(derandomize=True, deadline=None, max_examples=100)
two_masks = st.integers(1, 8).flatmap(lambda size: arrays(np.bool_, (2, 3, size)))
two_maps = st.integers(2, 12).flatmap(
    lambda size: arrays(np.float64, (2, 3, size), elements=st.integers(-8, 8).map(float))
)
OF_MAPS = [dice, iou, topk_intersection]
OF_MASKS = [dice_of_masks, iou_of_masks]


def marked(mask):
    return {index for index, value in enumerate(mask) if value}


@repeatable
@given(two_masks)
def test_of_masks_agrees_with_sets(masks):
    for n, (mask_a, mask_b) in enumerate(zip(*masks.tolist(), strict=True)):
        a, b = marked(mask_a), marked(mask_b)
        pair = torch.from_numpy(masks[0]), torch.from_numpy(masks[1])
        expected_dice = 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0
        expected_iou = len(a & b) / len(a | b) if a or b else 1.0
        assert dice_of_masks(*pair)[n].item() == expected_dice
        assert iou_of_masks(*pair)[n].item() == expected_iou


@repeatable
@given(two_maps, st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_of_maps_is_that_of_their_masks_unless_one_is_constant(maps, fraction):
    a, b = torch.from_numpy(maps[0]), torch.from_numpy(maps[1])
    rows = zip(a.tolist(), b.tolist(), strict=True)
    constant = torch.tensor([len(set(x)) == 1 or len(set(y)) == 1 for x, y in rows])
    masks = topk_mask(a, fraction), topk_mask(b, fraction)
    for measure, of_masks in zip((dice, iou), OF_MASKS, strict=True):
        values = measure(a, b, fraction=fraction)
        assert torch.equal(values.isnan(), constant)
        assert torch.equal(values[~constant], of_masks(*masks)[~constant])
        assert ((values >= 0) & (values <= 1))[~constant].all()
        assert torch.equal(measure(b, a, fraction=fraction)[~constant], values[~constant])


@repeatable
@given(two_maps)
def test_dice_follows_from_iou(maps):
    a, b = torch.from_numpy(maps[0]), torch.from_numpy(maps[1])
    overlap = iou(a, b, fraction=0.3)
    torch.testing.assert_close(
        dice(a, b, fraction=0.3), 2 * overlap / (1 + overlap), rtol=1e-14, atol=0, equal_nan=True
    )


@repeatable
@given(two_maps)
def test_only_the_order_of_the_values_counts(maps):
    a, b = torch.from_numpy(maps[0]), torch.from_numpy(maps[1])
    for measure in OF_MAPS:
        values = measure(a, b, fraction=0.3)
        bent = measure(a.exp(), b**3 - 7, fraction=0.3)
        assert torch.equal(bent.nan_to_num(99.0), values.nan_to_num(99.0))


@repeatable
@given(two_maps, st.sampled_from([0.1, 0.25, 0.5]))
def test_topk_intersection_agrees_with_sets(maps, fraction):
    a, b = torch.from_numpy(maps[0]), torch.from_numpy(maps[1])
    values = topk_intersection(a, b, fraction=fraction).tolist()
    masks = (topk_mask(each, fraction).tolist() for each in (a, b))
    for mask_a, mask_b, value in zip(*masks, values, strict=True):
        first, second = marked(mask_a), marked(mask_b)
        if first and second:
            assert value == len(first & second) / max(len(first), len(second))
        else:
            assert np.isnan(value)


@repeatable
@given(st.permutations(range(10)), st.permutations(range(10)))
def test_without_ties_topk_intersection_is_the_share_of_k_and_dice(one, other):
    a, b = (torch.tensor([order]).double() for order in (one, other))
    shared = {one.index(value) for value in (7, 8, 9)} & {other.index(value) for value in (7, 8, 9)}
    assert topk_intersection(a, b, fraction=0.3).item() == pytest.approx(len(shared) / 3)
    assert dice(a, b, fraction=0.3).item() == topk_intersection(a, b, fraction=0.3).item()


@pytest.mark.parametrize("measure", OF_MAPS)
def test_a_map_overlaps_itself_fully_and_its_negative_not_at_all(measure):
    maps = torch.randn(3, 2, 10, 10, generator=torch.Generator().manual_seed(0))
    assert measure(maps, maps).tolist() == [1.0, 1.0, 1.0]
    assert measure(maps, -maps).tolist() == [0.0, 0.0, 0.0]


def test_half_of_the_top_shared():
    a = torch.tensor([[9.0, 8.0, 0.0, 1.0]])
    b = torch.tensor([[5.0, 0.0, 1.0, 7.0]])
    assert dice(a, b, fraction=0.5).item() == 0.5
    assert iou(a, b, fraction=0.5).item() == pytest.approx(1 / 3, abs=1e-15)


@pytest.mark.parametrize("measure", OF_MAPS)
def test_a_tenth_is_the_default(measure):
    a = torch.arange(40.0).reshape(1, 40)
    b = torch.cat([a[:, :36], a[:, 36:38], -a[:, 38:]], dim=1)
    assert measure(a, b).item() == measure(a, b, fraction=0.1).item()
    assert dice(a, b).item() == 0.5


def test_independent_maps_share_the_fraction_on_average():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 400, 100, generator=generator, dtype=torch.float64)
    # Hypergeometric overlap: standard deviation 0.09 per pair, so 0.0045 of the mean of 400.
    assert dice(a, b).mean().item() == pytest.approx(0.1, abs=4 * 0.0045)


@pytest.mark.parametrize("measure", OF_MASKS)
def test_empty_masks(measure):
    none, some = torch.zeros(1, 2, 2, dtype=torch.bool), torch.eye(2, dtype=torch.bool)[None]
    assert measure(none, none).item() == 1.0
    assert measure(none, some).item() == 0.0
    assert measure(some, none).item() == 0.0
    assert measure(some, some).item() == 1.0


@pytest.mark.parametrize("measure", OF_MAPS)
def test_two_constant_maps_are_not_alike_by_accident(measure):
    zeros, ramp = torch.zeros(1, 9), torch.arange(9.0)[None]
    for pair in [(zeros, zeros), (zeros, ramp), (ramp, zeros)]:
        assert measure(*pair).isnan().all()


@pytest.mark.parametrize("measure", OF_MASKS)
def test_of_masks_returns_float64_and_refuses_what_is_no_batch_of_masks(measure):
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert measure(mask, mask).dtype == torch.float64
    assert measure(mask[:0], mask[:0]).shape == (0,)
    for bad, got in [(torch.ones(2, 3), "float32"), (mask[0], r"\(3,\)"), (None, "NoneType")]:
        with pytest.raises(InvalidArgument, match=rf"^mask_a: got .*{got}, expected a boolean"):
            measure(bad, mask)
        with pytest.raises(InvalidArgument, match=rf"^mask_b: got .*{got}, expected a boolean"):
            measure(mask, bad)
    with pytest.raises(InvalidArgument, match=r"^mask_b: got shape \(2, 2\), expected \(2, 3\)"):
        measure(mask, mask[:, :2])


@pytest.mark.parametrize("measure", OF_MAPS)
def test_refuses_what_is_no_share(measure):
    with pytest.raises(InvalidArgument, match=r"^fraction: got 0"):
        measure(torch.ones(1, 3), torch.ones(1, 3), fraction=0)
