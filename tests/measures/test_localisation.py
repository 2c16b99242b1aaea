import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures import mass_inside, pointing_game

BOTH = pytest.mark.parametrize("measure", [pointing_game, mass_inside])


def drawn(seed, shape=(5, 4, 6)):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(shape, generator=generator, dtype=torch.float64)
    return maps, torch.rand(shape, generator=generator) < 0.4


@given(st.integers(0, 10_000))
def test_against_loops_over_pixels(seed):
    maps, masks = drawn(seed)
    hits, shares = [], []
    for map_, mask in zip(maps, masks, strict=True):
        pixels = [(float(v), bool(m)) for v, m in zip(map_.flatten(), mask.flatten(), strict=True)]
        hits.append(float(max(pixels)[1]))
        total = sum(v for v, _ in pixels if v > 0)
        shares.append(sum(v for v, m in pixels if v > 0 and m) / total)
    if masks.flatten(1).any(1).all():
        assert pointing_game(maps, masks).tolist() == hits
        assert mass_inside(maps, masks).tolist() == pytest.approx(shares, rel=1e-12)


def test_ties_share_the_hit():
    maps = torch.tensor([[2.0, 2.0, 2.0, 0.0]])
    masks = torch.tensor([[True, False, True, True]])
    assert pointing_game(maps, masks).item() == pytest.approx(2 / 3)


def test_a_random_map_hits_as_often_as_the_mask_is_large():
    maps, masks = drawn(0, (4000, 10, 10))
    assert float(pointing_game(maps, masks).mean()) == pytest.approx(0.4, abs=0.03)
    assert float(mass_inside(maps, masks).mean()) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 2.9])
def test_a_tolerance_counts_what_is_near(tolerance):
    maps, masks = drawn(5, (40, 9, 7))
    masks = torch.rand(masks.shape, generator=torch.Generator().manual_seed(1)) < 0.03
    values = pointing_game(maps, masks, tolerance=tolerance)
    for map_, mask, value in zip(maps, masks, values, strict=True):
        row, column = divmod(int(map_.argmax()), 7)
        distances = [math.hypot(row - r, column - c) for r, c in mask.nonzero().tolist()]
        if distances:
            assert value == float(min(distances) <= tolerance)
        else:
            assert value.isnan()
    assert 0 < values.nanmean() < 1


@pytest.mark.parametrize("tolerance, value", [(0.0, 0.0), (0.9, 0.0), (1.0, 1.0)])
def test_the_next_pixel_is_one_away(tolerance, value):
    masks = torch.tensor([[[True, False, False]]])
    assert pointing_game(torch.tensor([[[1.0, 2.0, 0.0]]]), masks, tolerance=tolerance) == value


@pytest.mark.parametrize("tolerance", [-1.0, math.nan])
def test_wrong_tolerance(tolerance):
    with pytest.raises(InvalidArgument, match="tolerance: got"):
        pointing_game(*drawn(0), tolerance=tolerance)


@BOTH
def test_no_object_and_no_number_is_nan(measure):
    maps, masks = drawn(1)
    masks[0] = False
    maps[1, 0, 0] = math.nan
    maps[2, 0, 0] = math.inf
    maps[3] = 0.0
    values = measure(maps, masks)
    assert values[:4].isnan().all()
    assert values[4].isfinite()


def test_negative_values_have_no_mass_but_may_be_the_largest():
    maps, masks = torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, False]])
    assert mass_inside(maps, masks).isnan().all()
    assert pointing_game(maps, masks).item() == 1


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_tiny_and_huge_values(size):
    maps, masks = (
        torch.tensor([[3.0, 1.0, -1.0]]).double() * size,
        torch.tensor([[True, False, True]]),
    )
    assert mass_inside(maps, masks).item() == pytest.approx(0.75)


@BOTH
@pytest.mark.parametrize(
    "maps, masks, message",
    [
        (torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3).bool(), "maps: got dtype"),
        (torch.ones(2, 3), torch.ones(2, 3), "masks: got dtype"),
        (torch.ones(2, 3), torch.ones(2, 4).bool(), "masks: got shape"),
        ([1.0], torch.ones(2, 3).bool(), "maps: got list"),
    ],
)
def test_wrong_arguments(measure, maps, masks, message):
    with pytest.raises(InvalidArgument, match=message):
        measure(maps, masks)
