"""Decisions about a mean, against simulation and the capital that they stand for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai.errors import InvalidArgument
from pytest_xai.statistics.betting import log_capital
from pytest_xai.statistics.sequential import MeanDecision, barrier, decide_mean

UNIT = (0.0, 1.0)
ROUNDS = (32, 64, 128, 256)
RUNS = 2000
ALPHA = 0.05
# Distributions on [0, 1] with their means.
UNDER_NULL = {
    "coin": (lambda rng, size: rng.random(size) < 0.3, 0.3),
    "beta": (lambda rng, size: rng.beta(2, 5, size), 2 / 7),
    "rarely zero": (lambda rng, size: rng.random(size) >= 0.02, 0.98),
}
every_null = pytest.mark.parametrize("name", UNDER_NULL)


def draw(name, runs, count, *, seed=0):
    sample, mean = UNDER_NULL[name]
    values = sample(np.random.default_rng([seed, *name.encode()]), (runs, count))
    return values.astype(np.float64), mean


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
def test_peeking_after_every_round_is_wrong_as_rarely_as_alpha_says(name):
    """The mean is at the threshold: it is neither above nor below."""
    values, mean = draw(name, RUNS, ROUNDS[-1])
    looks = np.array(ROUNDS) - 1
    above = log_capital(values, mean)[:, looks].max(1) >= barrier(ALPHA)
    below = log_capital(1 - values, 1 - mean)[:, looks].max(1) >= barrier(ALPHA)
    assert above.sum() <= at_most(ALPHA / 2)
    assert below.sum() <= at_most(ALPHA / 2)
    # And that is what is decided.
    signs = [first_decision(run, mean)[0] for run in values[:10]]
    assert signs == (above.astype(int) - below)[:10].tolist()


def test_the_simulation_finds_a_test_that_may_not_be_peeked_at():
    values, mean = draw("coin", RUNS, ROUNDS[-1])
    wrong = np.zeros(RUNS, dtype=bool)
    for count in ROUNDS:
        seen = values[:, :count]
        error = seen.std(1, ddof=1) / math.sqrt(count)
        wrong |= np.abs(seen.mean(1) - mean) > 1.96 * error
    assert wrong.sum() > at_most(ALPHA)


@every_null
def test_the_interval_holds_the_mean(name):
    runs = 40
    values, mean = draw(name, runs, 64, seed=1)
    intervals = [decide_mean(run, spread=UNIT, threshold=0.5, alpha=0.2).interval for run in values]
    missed = runs - sum(low <= mean <= high for low, high in intervals)
    # 0.2 of 40 and four standard deviations.
    assert missed <= 8 + 4 * math.sqrt(40 * 0.2 * 0.8)


def test_the_interval_misses_a_mean_that_is_not_the_values_own():
    values, _ = draw("coin", 1, 512)
    low, high = decide_mean(values[0], spread=UNIT, threshold=0.5, alpha=0.05).interval
    assert 0.2 < low < values[0].mean() < high < 0.4


# -------------------------------------------------------------------------------------------- power


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_plain_is_decided_within_two_rounds(sign):
    rng = np.random.default_rng(5)
    values = (rng.random((30, ROUNDS[-1])) < (0.9 if sign > 0 else 0.1)).astype(np.float64)
    found = [first_decision(run, 0.5, alpha=0.001) for run in values]
    assert [s for s, _ in found] == [sign] * 30
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


@pytest.mark.parametrize("kept, count, decided", [(22, 22, True), (21, 21, False), (31, 32, True)])
def test_a_sign_test_takes_some_twenty_images(kept, count, decided):
    """As each of 50 verdicts of a run at 0.0005 has it."""
    values = np.repeat([1.0, 0.0], [kept, count - kept])
    assert decide_mean(values, spread=UNIT, threshold=0.5, alpha=1e-5).sign == decided


def test_images_on_their_limit_are_no_evidence():
    values = np.repeat([1.0, 0.5, 0.0], [20, 500, 3])
    with_ties = decide_mean(values, spread=UNIT, threshold=0.5, alpha=0.02)
    without = decide_mean(values[values != 0.5], spread=UNIT, threshold=0.5, alpha=0.02)
    assert with_ties.sign == without.sign == 1
    assert with_ties.log_e_values == pytest.approx(without.log_e_values)


# ------------------------------------------------------------------------ what always goes together

decisions = given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
    st.sampled_from([0.5, 0.05, 0.001]),
)
lean = settings(derandomize=True, deadline=None, max_examples=25)


@lean
@decisions
def test_the_values_own_mean_is_in_the_interval_and_on_the_decided_side(values, threshold, alpha):
    decision = decide_mean(np.array(values), spread=UNIT, threshold=threshold, alpha=alpha)
    low, high = decision.interval
    mean = np.mean(values)
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert decision.sign * (mean - threshold) >= 0
    # Undecided is that the threshold is not refuted.
    if decision.sign:
        assert low >= threshold if decision.sign > 0 else high <= threshold
    else:
        assert low <= threshold <= high


@lean
@decisions
def test_a_decision_is_that_an_e_value_reaches_the_barrier(values, threshold, alpha):
    decision = decide_mean(np.array(values), spread=UNIT, threshold=threshold, alpha=alpha)
    above, below = decision.log_e_values
    assert decision.sign == (above >= barrier(alpha)) - (below >= barrier(alpha))
    assert barrier(alpha) == pytest.approx(math.log(2 / alpha))


@lean
@decisions
def test_more_certainty_takes_a_wider_interval(values, threshold, alpha):
    options = {"spread": UNIT, "threshold": threshold}
    less = decide_mean(np.array(values), alpha=alpha, **options)
    more = decide_mean(np.array(values), alpha=alpha / 10, **options)
    assert more.interval[0] <= less.interval[0]
    assert less.interval[1] <= more.interval[1]
    assert abs(more.sign) <= abs(less.sign)


@lean
@decisions
def test_larger_values_move_the_interval_up(values, threshold, alpha):
    options = {"spread": UNIT, "threshold": threshold, "alpha": alpha}
    here = decide_mean(np.array(values), **options)
    there = decide_mean(np.sqrt(values), **options)
    # To the precision of the search.
    assert there.interval[0] >= here.interval[0] - 1e-5
    assert there.interval[1] >= here.interval[1] - 1e-5
    assert there.sign >= here.sign


@pytest.mark.parametrize("alpha", [0.5, 0.05])
@pytest.mark.parametrize("seed, count", [(0, 1), (1, 20), (2, 60), (3, 150)])
def test_the_interval_is_of_the_means_that_neither_side_refutes(seed, count, alpha):
    values = np.random.default_rng(seed).beta(2, 3, count)
    low, high = decide_mean(values, spread=UNIT, threshold=1e-9, alpha=alpha).interval

    def refuted(mean):
        sides = log_capital(values[None], mean), log_capital(1 - values[None], 1 - mean)
        return max(side[0, -1] for side in sides) >= math.log(2 / alpha)

    assert low == 0 or refuted(low)
    assert high == 1 or refuted(high)
    # The search ends at most 1 of 65 ** 3 beyond the last mean that is not refuted.
    assert not refuted(low + 1e-5)
    assert not refuted(high - 1e-5)


# ------------------------------------------------------------------------------------- other ranges


@settings(derandomize=True, deadline=None, max_examples=20)
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


@settings(derandomize=True, deadline=None, max_examples=20)
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


@pytest.mark.parametrize("value", [0.8, 0.2])
def test_the_interval_of_a_decision_ends_at_the_threshold_at_the_latest(value):
    """Where the search stops short of it: the very values that just decide."""
    threshold = 0.430100001
    alpha = 2 / math.exp(
        max(
            decide_mean(
                np.full(30, value), spread=UNIT, threshold=threshold, alpha=0.5
            ).log_e_values
        )
    )
    decision = decide_mean(
        np.full(30, value), spread=UNIT, threshold=threshold, alpha=alpha * (1 + 1e-12)
    )
    assert decision.sign == (1 if value > threshold else -1)
    assert decision.interval[0 if value > threshold else 1] == threshold


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
