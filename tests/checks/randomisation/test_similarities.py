"""Similarities of maps against SciPy and scikit-image."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity

from pytest_xai.checks.randomisation import _similarities
from pytest_xai.checks.randomisation._similarities import FIGURE, SIGNED, PreparedMaps

UNSIGNED = "rank correlation of absolute values"
PEARSON = "Pearson correlation"
HOG = "rank correlation of oriented gradients (HOG)"


@pytest.fixture
def pair():
    torch.manual_seed(0)
    maps = torch.randn(4, 2, 16, 12).double()
    return maps, maps + 2 * torch.randn_like(maps)


def unit(image):
    return (image - image.min()) / (image.max() - image.min())


def test_all_are_what_the_libraries_compute(pair):
    found = PreparedMaps(pair[0]).like(PreparedMaps(pair[1]))
    assert set(found) == {
        FIGURE,
        SIGNED,
        UNSIGNED,
        PEARSON,
        HOG,
        "SSIM",
    }
    for place in range(4):
        a, b = (maps[place].sum(0).numpy() for maps in pair)
        scaled = [image / np.abs(image).max() for image in (a, b)]
        expected = {
            FIGURE: abs(spearmanr(a.ravel(), b.ravel()).statistic),
            SIGNED: spearmanr(a.ravel(), b.ravel()).statistic,
            UNSIGNED: spearmanr(np.abs(a).ravel(), np.abs(b).ravel()).statistic,
            PEARSON: pearsonr(a.ravel(), b.ravel()).statistic,
            HOG: spearmanr(*(hog(unit(i), pixels_per_cell=(3, 3)) for i in (a, b))).statistic,
            "SSIM": structural_similarity(*scaled, data_range=2),
        }
        for name, value in expected.items():
            assert found[name][place].item() == pytest.approx(value, abs=1e-9)


def test_large_maps_have_cells_of_16_pixels():
    torch.manual_seed(0)
    a, b = torch.rand(1, 1, 80, 70).double(), torch.rand(1, 1, 80, 70).double()
    expected = spearmanr(*(hog(unit(i[0, 0].numpy()), pixels_per_cell=(16, 16)) for i in (a, b)))
    assert PreparedMaps(a).like(PreparedMaps(b))[HOG].item() == pytest.approx(expected.statistic)


def test_maps_that_are_sign_flipped_are_equal_in_the_figure(pair):
    found = PreparedMaps(pair[0]).like(PreparedMaps(-pair[0]))
    for name in (FIGURE, UNSIGNED):
        assert torch.allclose(found[name], torch.ones(4).double())
    for name in (SIGNED, PEARSON):
        assert torch.allclose(found[name], -torch.ones(4).double())


@pytest.mark.parametrize(
    "shape, names",
    [
        ((3, 20), {FIGURE, SIGNED, UNSIGNED, PEARSON}),
        ((3, 2, 20), {FIGURE, SIGNED, UNSIGNED, PEARSON, "SSIM"}),
        ((3, 1, 7, 9), {FIGURE, SIGNED, UNSIGNED, PEARSON, "SSIM"}),
        (
            (3, 1, 8, 9),
            {
                FIGURE,
                SIGNED,
                UNSIGNED,
                PEARSON,
                "SSIM",
                HOG,
            },
        ),
        (
            (3, 1, 8, 8, 8),
            {FIGURE, SIGNED, UNSIGNED, PEARSON, "SSIM"},
        ),
    ],
)
def test_each_kind_of_input_has_what_is_defined_for_it(shape, names):
    maps = torch.rand(shape).double()
    assert set(PreparedMaps(maps).like(PreparedMaps(maps))) == names


def test_without_scikit_image_there_is_no_hog(pair, monkeypatch):
    monkeypatch.setattr(_similarities, "find_spec", lambda name: None)
    assert set(PreparedMaps(pair[0]).like(PreparedMaps(pair[1]))) == {
        FIGURE,
        SIGNED,
        UNSIGNED,
        PEARSON,
        "SSIM",
    }


def test_maps_whose_pixels_change_sign_by_themselves_are_not_similar_in_the_figure():
    """Where evidence is for and where against counts, though the absolute values are equal."""
    torch.manual_seed(0)
    maps = torch.randn(4, 1, 32, 32).double()
    found = PreparedMaps(maps * torch.randn_like(maps).sign()).like(PreparedMaps(maps))
    assert torch.allclose(found[UNSIGNED], torch.ones(4).double())
    assert (found[FIGURE] < 0.2).all()


def test_a_constant_map_equals_a_constant_original_alone(pair):
    constant = PreparedMaps(torch.ones_like(pair[0]))
    assert all(values.isnan().all() for values in constant.like(PreparedMaps(pair[1])).values())
    for other, figure in ((PreparedMaps(pair[1]), 0), (PreparedMaps(torch.zeros_like(pair[0])), 1)):
        found = other.like(constant)
        assert found.pop(FIGURE).tolist() == [figure] * 4
        assert all(values.isnan().all() for values in found.values())


def test_a_map_has_one_sign_where_no_pixels_are_opposite():
    maps = torch.tensor([[0.0, 1, 2], [-1, 0, -2], [-1, 0, 1], [0, 0, 0]])
    assert PreparedMaps(maps).one_sign.tolist() == [True, True, False, True]
