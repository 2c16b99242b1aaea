import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures import cosine, kendall, pearson, spearman, ssim

repeatable = settings(derandomize=True, deadline=None, max_examples=100)
two_maps = st.integers(2, 12).flatmap(
    lambda size: arrays(np.float64, (2, 3, size), elements=st.integers(-9, 9).map(float))
)
CORRELATIONS = [pearson, spearman]


def random_maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------------------------- correlations


@repeatable
@given(two_maps)
@pytest.mark.parametrize(
    "measure, oracle", [(pearson, scipy.stats.pearsonr), (spearman, scipy.stats.spearmanr)]
)
def test_correlation_agrees_with_scipy(measure, oracle, maps):
    values = measure(torch.from_numpy(maps[0]), torch.from_numpy(maps[1])).tolist()
    for a, b, value in zip(*maps, values, strict=True):
        if np.ptp(a) == 0 or np.ptp(b) == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(oracle(a, b).statistic, abs=1e-12)
            assert -1 <= value <= 1


@repeatable
@given(st.permutations(range(9)))
def test_spearman_without_ties_is_the_closed_form(order):
    ranks = torch.tensor([order], dtype=torch.float64)
    squares = sum((rank - place) ** 2 for place, rank in enumerate(order))
    expected = 1 - 6 * squares / (9 * (9**2 - 1))
    assert spearman(ranks, torch.arange(9.0)[None]).item() == pytest.approx(expected, abs=1e-14)


def test_spearman_gives_ties_their_average_rank():
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5, all times 4.
    a, b = torch.tensor([[0.0, 5.0, 5.0, 9.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert spearman(a, b).item() == pytest.approx(4.5 / (4.5 * 5) ** 0.5, abs=1e-15)


def test_pearson_of_three_points():
    a, b = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, 0.0, 5.0]])
    assert pearson(a, b).item() == pytest.approx(4 / (2 * 14) ** 0.5, abs=1e-15)


@repeatable
@given(two_maps)
def test_spearman_sees_only_the_order(maps):
    a, b = torch.from_numpy(maps[0]), torch.from_numpy(maps[1])
    bent = spearman(a.exp(), b**3 - 7)
    assert torch.equal(bent.nan_to_num(99.0), spearman(a, b).nan_to_num(99.0))


@repeatable
@given(two_maps, st.floats(0.01, 100), st.floats(-100, 100))
def test_pearson_does_not_see_scale_and_shift(maps, scale, shift):
    a, b = torch.from_numpy(maps[0]), torch.from_numpy(maps[1])
    moved = pearson(a * scale + shift, b)
    varies = ~pearson(a, b).isnan()
    torch.testing.assert_close(moved[varies], pearson(a, b)[varies], rtol=0, atol=1e-9)


@pytest.mark.parametrize("measure", [pearson, spearman, cosine])
def test_a_map_with_itself_and_with_its_negative(measure):
    maps = random_maps(5, 3, 7, 7) * 0.37
    assert measure(maps, maps).tolist() == [1.0] * 5
    assert measure(maps, -maps).tolist() == pytest.approx([-1.0] * 5, abs=1e-15)


@pytest.mark.parametrize("measure", CORRELATIONS)
def test_signs_are_not_dropped(measure):
    a = torch.tensor([[-3.0, -2.0, -1.0, 0.5]])
    assert measure(a, a.abs()).item() < -0.5


@pytest.mark.parametrize("measure", CORRELATIONS)
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e300])
def test_correlation_with_a_constant_map_is_undefined(measure, value):
    ramp = torch.arange(49.0, dtype=torch.float64).reshape(1, 1, 7, 7)
    constant = torch.full_like(ramp, value)
    assert measure(ramp, constant).isnan().all()
    assert measure(constant, ramp).isnan().all()
    assert measure(constant, constant).isnan().all()


def test_pearson_of_a_map_that_varies_in_its_last_digit():
    step = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    assert pearson(1 + step * 2**-52, step).item() == 1.0


@pytest.mark.parametrize("measure", [pearson, spearman, cosine, ssim])
def test_no_value_leaves_the_range_by_rounding(measure):
    maps = random_maps(200, 1, 7, 7, seed=4)
    for other in (maps * 3.3, maps * -0.7, maps / 3 + 1e-9):
        values = measure(maps, other)
        assert values.min() >= -1
        assert values.max() <= 1


# ------------------------------------------------------------------------------------ kendall


@repeatable
@given(two_maps)
def test_kendall_agrees_with_counting_pairs(maps):
    values = kendall(torch.from_numpy(maps[0]), torch.from_numpy(maps[1])).tolist()
    for a, b, value in zip(*maps, values, strict=True):
        pairs = list(itertools.combinations(range(len(a)), 2))
        orders = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in pairs]
        ordered = [sum(map(bool, each)) for each in zip(*orders, strict=True)]
        if 0 in ordered:
            assert np.isnan(value)
        else:
            expected = sum(x * y for x, y in orders) / (ordered[0] * ordered[1]) ** 0.5
            assert value == pytest.approx(expected, abs=1e-12)
            assert -1 <= value <= 1


@repeatable
@given(two_maps)
def test_kendall_sees_only_the_order(maps):
    a, b = torch.from_numpy(maps[0]), torch.from_numpy(maps[1])
    assert torch.equal(kendall(a.exp(), b**3 - 7).nan_to_num(9.0), kendall(a, b).nan_to_num(9.0))


def test_kendall_of_a_map_with_itself_its_negative_and_a_constant():
    maps = random_maps(3, 2, 5, 5)
    assert kendall(maps, maps).tolist() == [1.0] * 3
    assert kendall(maps, -maps).tolist() == [-1.0] * 3
    assert kendall(maps, torch.ones_like(maps)).isnan().all()


# ------------------------------------------------------------------------------------- cosine


@pytest.mark.parametrize(
    "b, expected",
    [((3.0, 4.0), 1.0), ((-4.0, 3.0), 0.0), ((1.0, 0.0), 0.6), ((-6.0, -8.0), -1.0)],
)
def test_cosine_of_an_angle(b, expected):
    value = cosine(torch.tensor([[3.0, 4.0]]), torch.tensor([b])).item()
    assert value == pytest.approx(expected, abs=1e-15)


@repeatable
@given(two_maps)
def test_cosine_agrees_with_numpy(maps):
    values = cosine(torch.from_numpy(maps[0]), torch.from_numpy(maps[1])).tolist()
    for a, b, value in zip(*maps, values, strict=True):
        if not a.any() or not b.any():
            assert np.isnan(value)
        else:
            expected = np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
            assert value == pytest.approx(expected, abs=1e-14)


def test_constant_maps_have_a_direction_and_zero_maps_none():
    ones, zeros = torch.ones(1, 4), torch.zeros(1, 4)
    assert cosine(ones, ones * 5).item() == 1.0
    assert cosine(ones, zeros).isnan().all()
    assert cosine(zeros, ones).isnan().all()
    assert cosine(zeros, zeros).isnan().all()


# --------------------------------------------------------------------------------------- ssim


@pytest.mark.parametrize(
    "shape, window",
    [
        ((3, 1, 64), 7),
        ((3, 3, 16, 12), 7),
        ((2, 1, 7, 7), 7),
        ((2, 2, 8, 9, 7), 7),
        ((2, 1, 6, 9), 5),
        ((2, 2, 5, 5), 5),
        ((2, 1, 4, 30), 3),
        ((2, 1, 3, 3, 8), 3),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_ssim_agrees_with_scikit_image(shape, window, shift):
    a = random_maps(*shape, seed=1) + shift
    b = a + random_maps(*shape, seed=2)
    for image_a, image_b, value in zip(a.numpy(), b.numpy(), ssim(a, b).tolist(), strict=True):
        sum_a, sum_b = image_a.sum(0), image_b.sum(0)
        expected = structural_similarity(
            sum_a / np.abs(sum_a).max(),
            sum_b / np.abs(sum_b).max(),
            win_size=window,
            data_range=2.0,
        )
        assert value == pytest.approx(expected, abs=1e-12)


def test_ssim_agrees_with_the_formula_window_by_window():
    a, b = random_maps(1, 1, 9, 8, seed=1) + 0.5, random_maps(1, 1, 9, 8, seed=2)
    pixels_a, pixels_b = (each[0, 0].numpy() / each.abs().max().item() for each in (a, b))
    scores = []
    for top in range(9 - 6):
        for left in range(8 - 6):
            x = pixels_a[top : top + 7, left : left + 7].ravel()
            y = pixels_b[top : top + 7, left : left + 7].ravel()
            (var_x, joint), (_, var_y) = np.cov(x, y)
            luminance = 2 * x.mean() * y.mean() + 0.02**2
            structure = 2 * joint + 0.06**2
            scale = (x.mean() ** 2 + y.mean() ** 2 + 0.02**2) * (var_x + var_y + 0.06**2)
            scores.append(luminance * structure / scale)
    assert ssim(a, b).item() == pytest.approx(np.mean(scores), abs=1e-13)


def test_ssim_of_one_window_in_closed_form():
    # Mean 0 and sample variance 1, so that only C2 = 0.0036 is left.
    a = torch.tensor([[[1.0, 0.0, -1.0]]])
    assert ssim(a, -a).item() == pytest.approx((-2 + 0.0036) / (2 + 0.0036), abs=1e-14)
    assert ssim(a, a).item() == 1.0


@repeatable
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(0.01, 100))
def test_ssim_does_not_see_the_scale_of_either_map(seed, scale_a, scale_b):
    a, b = random_maps(2, 2, 3, 8, 8, seed=seed)
    torch.testing.assert_close(ssim(scale_a * a, scale_b * b), ssim(a, b), rtol=0, atol=1e-12)


def test_ssim_sums_channels_with_their_signs():
    a, b = random_maps(1, 2, 8, 8, seed=1), random_maps(1, 2, 8, 8, seed=2)
    torch.testing.assert_close(ssim(a, b), ssim(a.sum(1, True), b.sum(1, True)))
    cancelling = torch.cat([a[:, :1], -a[:, :1]], dim=1)
    assert ssim(cancelling, b).isnan().all()


def test_ssim_of_a_constant_map_is_undefined_for_that_image_only():
    a, b = random_maps(4, 1, 8, 8, seed=1), random_maps(4, 1, 8, 8, seed=2)
    a[0], b[1], a[2], b[2] = 0.0, 5.0, 0.1, 0.1
    assert ssim(a, b).isnan().tolist() == [True, True, True, False]


@pytest.mark.parametrize("spatial", [(2,), (1,), (2, 9), (28, 1), (9, 9, 2)])
def test_ssim_of_maps_without_room_for_a_window_is_undefined(spatial):
    values = ssim(random_maps(2, 3, *spatial, seed=1), random_maps(2, 3, *spatial, seed=2))
    assert values.dtype == torch.float64
    assert values.isnan().tolist() == [True, True]


def test_ssim_refuses_tables():
    with pytest.raises(InvalidArgument, match=r"^map_a: got shape \(2, 9\), expected \(N, C, \*sp"):
        ssim(torch.ones(2, 9), torch.ones(2, 9))
