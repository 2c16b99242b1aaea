"""Decisions about a mean, against simulation and a slow second writing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai import sequential
from pytest_xai.errors import InvalidArgument
from pytest_xai.sequential import MeanDecision, decide_mean

UNIT = (0.0, 1.0)
ROUNDS = (32, 64, 128, 256)
RUNS = 2000
ALPHA = 0.05
# Distributions on [0, 1] with their means.
NULLS = {
    "coin": (lambda rng, size: rng.random(size) < 0.3, 0.3),
    "beta": (lambda rng, size: rng.beta(2, 5, size), 2 / 7),
    "rarely zero": (lambda rng, size: rng.random(size) >= 0.02, 0.98),
}
every_null = pytest.mark.parametrize("name", NULLS)


def draw(name, runs, count, *, seed=0):
    sample, mean = NULLS[name]
    values = sample(np.random.default_rng([seed, *name.encode()]), (runs, count))
    return values.astype(np.float64), mean


@pytest.fixture
def coarse(monkeypatch):
    """The grid serves the interval alone, and most of the time: without it a decision is fast."""
    monkeypatch.setattr(sequential, "_GRID", 2)


def first_decision(values, threshold, *, alpha=ALPHA, spread=UNIT):
    """Look after every round, and stop at the first decision; its sign and when it was."""
    for count in ROUNDS:
        sign = decide_mean(values[:count], spread=spread, threshold=threshold, alpha=alpha).sign
        if sign:
            return sign, count
    return 0, ROUNDS[-1]


def at_most(rate):
    """A number of ``RUNS`` that a rate exceeds with a probability below 0.0001."""
    return RUNS * rate + 4 * math.sqrt(RUNS * rate * (1 - rate))


# ----------------------------------------------------------------------------------------- validity


@every_null
@pytest.mark.usefixtures("coarse")
def test_peeking_after_every_round_is_wrong_as_rarely_as_alpha_says(name):
    values, mean = draw(name, RUNS, ROUNDS[-1])
    signs = [first_decision(run, mean)[0] for run in values]
    # The mean is at the threshold: it is neither above nor below.
    assert signs.count(1) <= at_most(ALPHA / 2)
    assert signs.count(-1) <= at_most(ALPHA / 2)


def test_the_simulation_finds_a_test_that_may_not_be_peeked_at():
    values, mean = draw("coin", RUNS, ROUNDS[-1])
    wrong = np.zeros(RUNS, dtype=bool)
    for count in ROUNDS:
        seen = values[:, :count]
        error = seen.std(1, ddof=1) / math.sqrt(count)
        wrong |= np.abs(seen.mean(1) - mean) > 1.96 * error
    assert wrong.sum() > at_most(ALPHA)


@every_null
def test_the_interval_holds_the_mean_at_all_rounds(name):
    runs = 100
    values, mean = draw(name, runs, 128, seed=1)
    missed = 0
    for run in values:
        intervals = [
            decide_mean(run[:n], spread=UNIT, threshold=0.5, alpha=0.05).interval for n in (32, 128)
        ]
        missed += not all(low <= mean <= high for low, high in intervals)
    # 0.05 of 100 and four standard deviations.
    assert missed <= 5 + 4 * math.sqrt(100 * 0.05 * 0.95)


def test_the_interval_misses_a_mean_that_is_not_the_values_own():
    values, _ = draw("coin", 1, 512)
    low, high = decide_mean(values[0], spread=UNIT, threshold=0.5, alpha=0.05).interval
    assert 0.2 < low < values[0].mean() < high < 0.4


# -------------------------------------------------------------------------------------------- power


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_plain_is_decided_within_two_rounds(sign):
    rng = np.random.default_rng(5)
    values = (rng.random((200, ROUNDS[-1])) < (0.9 if sign > 0 else 0.1)).astype(np.float64)
    found = [first_decision(run, 0.5, alpha=0.001) for run in values]
    assert [s for s, _ in found] == [sign] * 200
    assert max(count for _, count in found) <= 64


@pytest.mark.parametrize("value, sign", [(0.75, 1), (0.25, -1), (1.0, 1), (0.0, -1)])
def test_constant_values_are_decided_in_the_first_round(value, sign):
    decision = decide_mean(np.full(32, value), spread=UNIT, threshold=0.5, alpha=0.001)
    assert decision.sign == sign
    low, high = decision.interval
    assert low <= value <= high
    assert low >= 0.5 if sign > 0 else high <= 0.5


def test_constant_values_at_the_threshold_are_never_decided():
    decision = decide_mean(np.full(1000, 0.5), spread=UNIT, threshold=0.5, alpha=0.001)
    assert decision.sign == 0
    low, high = decision.interval
    assert low < 0.5 < high


@pytest.mark.parametrize("spread", [(-0.5, 1.0), (-1.0, 1.0), (-1.0, 0.25)])
def test_nothing_is_known_of_no_values(spread):
    assert decide_mean(np.array([]), spread=spread, alpha=0.05) == MeanDecision(0, spread)


def test_values_that_prove_both_sides_decide_nothing():
    values = np.repeat([1.0, 0.0], [100, 1000])
    decision = decide_mean(values, spread=UNIT, threshold=0.5, alpha=0.001)
    assert decision.sign == 0
    low, high = decision.interval
    assert low == high


def test_what_was_proven_stays_proven():
    proof = np.concatenate([np.ones(40), np.full(40, 0.45)])
    assert decide_mean(proof[:40], spread=UNIT, threshold=0.5, alpha=0.001).sign == 1
    assert decide_mean(proof, spread=UNIT, threshold=0.5, alpha=0.001).sign == 1


# ---------------------------------------------------------------------------- a slow second writing


def bets_win(values, mean, alpha):
    """Whether a gambler who bets that the mean exceeds ``mean`` ever has 2/alpha times his stake.

    Waudby-Smith & Ramdas 2024, equation 26 with the truncation 3/4, on values from 0 to 1.
    """
    capital, total, squares = 1.0, 0.5, 0.25
    for seen, value in enumerate(values):
        average, variance = total / (seen + 1), squares / (seen + 1)
        bet = (average - mean) / (variance + (average - mean) ** 2)
        capital *= 1 + min(max(bet, 0.0), 0.75 / mean) * (value - mean)
        if capital >= 2 / alpha:
            return True
        total += value
        squares += (value - total / (seen + 2)) ** 2
    return False


def slow_sign(values, threshold, alpha):
    above = bets_win(values, threshold, alpha)
    below = bets_win([1 - value for value in values], 1 - threshold, alpha)
    return int(above) - int(below)


def slow_interval(values, alpha):
    means = [step / 400 for step in range(1, 400)]
    lower = max([m for m in means if bets_win(values, m, alpha)], default=0.0)
    mirrored = [1 - value for value in values]
    upper = min([m for m in means if bets_win(mirrored, 1 - m, alpha)], default=1.0)
    return lower, max(lower, upper)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(0, 80),
    st.sampled_from([0.1, 0.3, 0.5, 0.8]),
    st.sampled_from([0.3, 0.05, 0.001]),
)
def test_the_sign_is_that_of_the_slow_writing(seed, count, mean, alpha):
    rng = np.random.default_rng(seed)
    values = rng.beta(4 * mean, 4 * (1 - mean), count)
    threshold = rng.uniform(0.2, 0.8)
    sign = decide_mean(values, spread=UNIT, threshold=threshold, alpha=alpha).sign
    assert sign == slow_sign(values, threshold, alpha)


def test_the_slow_writing_is_asked_about_all_signs():
    rng = np.random.default_rng(0)
    values = [rng.beta(2, 2, 60) for _ in range(30)]
    signs = [slow_sign(v, t, 0.05) for v in values for t in (0.3, 0.5, 0.7)]
    assert {signs.count(sign) > 9 for sign in (-1, 0, 1)} == {True}
    fast = [
        decide_mean(v, spread=UNIT, threshold=t, alpha=0.05).sign
        for v in values
        for t in (0.3, 0.5, 0.7)
    ]
    assert fast == signs


@pytest.mark.parametrize("seed, count", [(0, 1), (1, 20), (2, 60), (3, 150)])
@pytest.mark.parametrize("alpha", [0.5, 0.05])
def test_the_interval_is_that_of_the_slow_writing(seed, count, alpha):
    values = np.random.default_rng(seed).beta(2, 3, count)
    interval = decide_mean(values, spread=UNIT, threshold=1e-9, alpha=alpha).interval
    assert interval == pytest.approx(slow_interval(values, alpha), abs=1e-12)


def test_the_log_capital_is_that_of_the_slow_writing_to_rounding():
    values = np.random.default_rng(4).random(50)
    # The largest level that is still refuted is the peak of the capital.
    peak = math.exp(sequential._peak_log_capital(values, np.array([0.4]))[0])
    assert bets_win(values, 0.4, 2 / (peak * (1 - 1e-9)))
    assert not bets_win(values, 0.4, 2 / (peak * (1 + 1e-9)))


# ------------------------------------------------------------------------------------- other ranges


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(-1.0, 1.0), (-2.0, 0.5), (3.0, 7.0), (-0.001, 0.002)]),
)
def test_a_range_is_a_matter_of_scale(seed, spread):
    low, high = spread
    rng = np.random.default_rng(seed)
    values, threshold = rng.beta(3, 2, 60), rng.uniform(0.2, 0.8)
    unit = decide_mean(values, spread=UNIT, threshold=threshold, alpha=0.05)
    moved = decide_mean(
        low + values * (high - low),
        spread=spread,
        threshold=low + threshold * (high - low),
        alpha=0.05,
    )
    assert moved.sign == unit.sign
    expected = [low + end * (high - low) for end in unit.interval]
    assert moved.interval == pytest.approx(expected, abs=1e-9)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_above_and_below_are_mirror_images(seed, threshold):
    values = np.random.default_rng(seed).beta(3, 2, 60)
    there = decide_mean(values, spread=UNIT, threshold=threshold, alpha=0.05)
    mirrored = decide_mean(1 - values, spread=UNIT, threshold=1 - threshold, alpha=0.05)
    assert mirrored.sign == -there.sign
    low, high = there.interval
    assert mirrored.interval == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_the_threshold_is_zero_unless_said():
    values = np.full(40, 0.5)
    assert decide_mean(values, spread=(-1.0, 1.0), alpha=0.001).sign == 1
    assert decide_mean(-values, spread=(-1.0, 1.0), alpha=0.001).sign == -1


@pytest.mark.parametrize("threshold, value", [(0.4301, 0.45), (0.6799, 0.66)])
def test_the_interval_of_a_decision_ends_at_the_threshold(threshold, value, monkeypatch):
    # Stop at the very sample that decides: there the grid alone ends short of the threshold.
    values = np.full(400, value)
    with monkeypatch.context() as patch:
        patch.setattr(sequential, "_GRID", 2)
        decided = next(
            n
            for n in range(1, 400)
            if decide_mean(values[:n], spread=UNIT, threshold=threshold, alpha=0.05).sign
        )
    interval = decide_mean(values[:decided], spread=UNIT, threshold=threshold, alpha=0.05).interval
    assert interval[0 if value > threshold else 1] == threshold


# ------------------------------------------------------------------------------------------ refused


def refusal(**changes):
    arguments = {"values": np.full(5, 0.5), "spread": UNIT, "threshold": 0.5, "alpha": 0.05}
    with pytest.raises(InvalidArgument) as caught:
        decide_mean(**{**arguments, **changes})
    return str(caught.value)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 1.5, math.nan])
def test_a_threshold_that_is_not_inside_is_refused(threshold):
    assert refusal(threshold=threshold) == (
        f"threshold: got {threshold}, expected inside (0.0, 1.0)"
    )


@pytest.mark.parametrize("spread", [(0.0, math.inf), (-math.inf, 1.0), (0.0, math.nan)])
def test_a_range_without_end_is_refused(spread):
    assert refusal(spread=spread) == f"spread: got {spread}, expected two finite numbers"


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_level_that_is_no_probability_is_refused(alpha):
    assert refusal(alpha=alpha) == f"alpha: got {alpha}, expected between 0 and 1"


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf, -math.inf])
def test_values_outside_the_range_are_refused(value):
    values = np.array([0.5, value, 0.5])
    assert refusal(values=values) == (
        "values: got values outside (0.0, 1.0), expected values inside"
    )


def test_values_that_rounding_takes_outside_are_served():
    values = np.tile([0.0 - 1e-10, 1.0 + 1e-10, 0.5], 20)
    exact = np.clip(values, 0.0, 1.0)
    found = decide_mean(values, spread=UNIT, threshold=0.5, alpha=0.05)
    assert found == decide_mean(exact, spread=UNIT, threshold=0.5, alpha=0.05)
