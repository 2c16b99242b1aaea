"""Histograms of oriented gradients against scikit-image."""

import sys

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.feature import hog as histograms

from pytest_xai.errors import InvalidArgument, MissingDependency
from pytest_xai.measures import hog


def random_maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    "shape, side",
    [((2, 1, 8, 8), 2), ((2, 3, 16, 13), 3), ((2, 1, 13, 16), 3), ((1, 1, 80, 70), 16)],
)
def test_it_is_the_rank_correlation_of_the_histograms(shape, side):
    a = random_maps(*shape)
    b = a + random_maps(*shape, seed=1)
    for one, other, value in zip(a.sum(1), b.sum(1), hog(a, b), strict=True):
        units = [((each - each.min()) / (each.max() - each.min())).numpy() for each in (one, other)]
        rows = [histograms(unit, pixels_per_cell=(side, side)) for unit in units]
        assert value.item() == pytest.approx(spearmanr(*rows).statistic, abs=1e-12)


def test_edges_of_one_direction_are_alike_and_of_others_are_not():
    stripes = torch.tensor([0.0, 0, 1, 1]).repeat(4)
    down = stripes[:, None].expand(16, 16)[None, None]
    assert hog(down, down).item() == 1.0
    assert hog(down, 5 * down - 2).item() == 1.0
    assert hog(down, down.mT).item() < 0.1


def test_maps_without_edges_or_room_have_no_value():
    maps = random_maps(3, 1, 8, 8)
    flat = maps.clone()
    flat[1] = 4.0
    assert hog(maps, flat).isnan().tolist() == [False, True, False]
    assert hog(flat, maps).isnan().tolist() == [False, True, False]
    for small in (maps[..., :7], maps[..., :7, :]):
        assert hog(small, small).isnan().all()
    assert hog(maps[:0], maps[:0]).shape == (0,)


def test_neither_the_scale_nor_the_level_of_a_map_matters():
    # Blocks are divided by their norm and a little more: what is not scaled first, shrinks.
    maps, others = random_maps(2, 1, 9, 9), random_maps(2, 1, 9, 9, seed=1)
    torch.testing.assert_close(hog(1e-4 * maps + 50, others), hog(maps, others))


@pytest.mark.parametrize("shape", [(2, 9), (2, 1, 9), (2, 1, 9, 9, 9)])
def test_only_images_have_directions(shape):
    with pytest.raises(InvalidArgument, match=r"^map_a: got shape .*, expected \(N, C, H, W\)$"):
        hog(torch.ones(shape), torch.ones(shape))


def test_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(MissingDependency, match="skimage cannot be imported"):
        hog(random_maps(1, 1, 8, 8), random_maps(1, 1, 8, 8))


def test_hog_ignores_the_graph():
    maps = random_maps(1, 1, 8, 8).requires_grad_()
    assert np.isfinite(hog(maps, maps).item())
