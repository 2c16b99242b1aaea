"""The gambler's capital, against exact enumeration, a slow second writing and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai.statistics.betting import log_capital

steady = settings(derandomize=True, deadline=None, max_examples=30)
scores = st.lists(st.floats(0, 1), min_size=1, max_size=70)
means = st.floats(0.01, 0.99)


def final(values, mean):
    return log_capital(np.array([values], dtype=np.float64), mean)[0, -1]


def slow(values, mean):
    """Eight gamblers with an eighth each, who bet the same share of what they may every time."""
    capital = [1 / 8] * 8
    path = []
    for value in values:
        for place in range(8):
            share = 0.03 * (0.95 / 0.03) ** (place / 7)
            capital[place] *= 1 - share + share * value / mean
        path.append(math.log(sum(capital)))
    return path


@steady
@given(scores, means)
def test_the_capital_is_that_of_the_slow_writing(values, mean):
    found = log_capital(np.array([values]), mean)[0]
    assert found == pytest.approx(slow(values, mean), abs=1e-9)


# ----------------------------------------------------------------------------------------- validity


def paths(count):
    """All sequences of zeros and ones, (2 ** count, count)."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=count)))


def chances(values, mean):
    ones = values.sum(1)
    return mean**ones * (1 - mean) ** (values.shape[1] - ones)


@pytest.mark.parametrize("mean", [0.05, 0.3, 0.5, 0.9])
def test_the_capital_is_a_martingale_where_the_mean_is_as_said(mean):
    values = paths(10)
    expected = chances(values, mean) @ np.exp(log_capital(values, mean))
    assert expected == pytest.approx(np.ones(10), abs=1e-12)


@pytest.mark.parametrize("mean, said", [(0.3, 0.35), (0.5, 0.9), (0.05, 0.5)])
def test_the_capital_shrinks_where_the_mean_is_less(mean, said):
    values = paths(8)
    expected = chances(values, mean) @ np.exp(log_capital(values, said))
    assert (np.diff(expected, prepend=1.0) < 0).all()


@pytest.mark.parametrize("mean", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01])
def test_it_ever_exceeds_a_level_as_rarely_as_promised(mean, alpha):
    """All 4,096 sequences of 12 coins, looked at after every one: the exact probability."""
    values = paths(12)
    ever = log_capital(values, mean).max(1) >= np.log(1 / alpha)
    assert chances(values, mean)[ever].sum() <= alpha


def test_the_enumeration_finds_a_gambler_who_stakes_more_than_he_has():
    """Eight gamblers with the whole stake each."""
    values = paths(12)
    ever = (log_capital(values, 0.5) + math.log(8)).max(1) >= np.log(1 / 0.1)
    assert chances(values, 0.5)[ever].sum() > 0.1


SKEWED = {
    "beta": lambda rng, size: rng.beta(0.02, 0.38, size),
    "sixths": lambda rng, size: rng.binomial(6, 0.05, size) / 6,
    "rarely 1": lambda rng, size: (rng.random(size) < 0.05).astype(np.float64),
}


@pytest.mark.parametrize("name", SKEWED)
@pytest.mark.parametrize("mirrored", [False, True])
def test_peeking_after_every_value_is_wrong_as_rarely_as_promised(name, mirrored):
    runs, alpha = 2000, 0.05
    values = SKEWED[name](np.random.default_rng([3, *name.encode()]), (runs, 400))
    found = log_capital(1 - values, 0.95) if mirrored else log_capital(values, 0.05)
    wrong = (found.max(1) >= np.log(1 / alpha)).sum()
    # Four standard deviations.
    assert wrong <= runs * alpha + 4 * math.sqrt(runs * alpha * (1 - alpha))


# ------------------------------------------------------------------------------------------- merits


@steady
@given(st.data(), scores, means)
def test_the_order_of_the_values_does_not_matter(data, values, mean):
    other = data.draw(st.permutations(values))
    assert final(values, mean) == pytest.approx(final(other, mean), abs=1e-9)


@steady
@given(scores, means, st.data())
def test_a_larger_value_never_lowers_the_capital(values, mean, data):
    place = data.draw(st.integers(0, len(values) - 1))
    larger = [*values[:place], data.draw(st.floats(values[place], 1)), *values[place + 1 :]]
    assert final(larger, mean) >= final(values, mean) - 1e-9


@steady
@given(scores, means, means)
def test_a_larger_mean_never_raises_the_capital(values, first, second):
    low, high = sorted([first, second])
    assert final(values, high) <= final(values, low) + 1e-9


@steady
@given(scores, means)
def test_nobody_wins_where_the_values_own_mean_does_not_exceed_it(values, mean):
    if np.mean(values) <= mean:
        assert final(values, mean) <= 1e-9
    else:
        assert final([1 - value for value in values], 1 - mean) <= 1e-9


@pytest.mark.parametrize("mean", [0.02, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("way", [0.04, 0.1, 0.3, 0.6, 0.93])
def test_one_of_the_shares_earns_nearly_what_the_best_would(mean, way):
    """Per coin in the long run, where the best is the relative entropy of the two coins."""
    true = mean + way * (1 - mean)
    best = true * math.log(true / mean) + (1 - true) * math.log((1 - true) / (1 - mean))
    count = 20_000
    ones = round(true * count)
    # All ones first: whoever bets little is far behind, and wins in the end.
    values = np.repeat([1.0, 0.0], [ones, count - ones])
    earned = final(values, mean)
    assert 0.9 * best * count - math.log(8) < earned <= best * count


# -------------------------------------------------------------------------------------------- shape


def test_many_runs_are_each_as_alone():
    values = np.random.default_rng(0).random((5, 150))
    alone = [log_capital(run[None], 0.4)[0] for run in values]
    assert np.allclose(log_capital(values, 0.4), alone, rtol=0, atol=1e-12)


def test_one_run_is_bet_on_for_many_means():
    values = np.random.default_rng(1).random((1, 150))
    several = log_capital(values, np.array([0.2, 0.5, 0.7]))
    for mean, found in zip((0.2, 0.5, 0.7), several, strict=True):
        assert found == pytest.approx(log_capital(values, mean)[0], abs=1e-12)


@pytest.mark.parametrize("mean", [1e-300, 1e-9, 1e-3, 1.0])
@pytest.mark.parametrize("value", [0.0, 1e-3, 1.0])
def test_no_number_is_too_large(mean, value):
    found = log_capital(np.full((1, 600), value), mean)
    assert np.isfinite(found).all()
    # The boldest gambler's capital, of which the sum is at most eight times as much.
    boldest = 600 * math.log(0.05 + 0.95 * value / mean) - math.log(8)
    assert found[0, -1] >= boldest - 1e-6
