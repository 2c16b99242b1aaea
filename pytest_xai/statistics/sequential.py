"""Decisions about a mean that are valid whenever they stop.

Two gamblers bet, one that the mean is above the threshold and one that it is below (`betting`).
Who has 2/alpha times what he began with has proven it: that either ever proves what is not so has
probability at most alpha, however often one looks. The means that neither refutes are a
confidence sequence; it holds the values' own mean at all times, so a decision and what is shown of
it never contradict each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_xai.errors import InvalidArgument
from pytest_xai.statistics.betting import log_capital

__all__ = ["MeanDecision", "barrier", "decide_mean"]

_Floats = NDArray[np.float64]

# The ends of the interval are found to 1 of 65 ** 3 of the range.
_POINTS, _REFINEMENTS = 64, 3


@dataclass(frozen=True, slots=True)
class MeanDecision:
    """What the values prove about their mean.

    Attributes:
        sign: 1: the mean is above the threshold, -1: below, 0: undecided.
        interval: holds the mean at all times with probability at least 1 - alpha.
        log_e_values: logs of two e-values, the capitals: against "the mean is at most the
            threshold" and against "the mean is at least the threshold".
    """

    sign: int
    interval: tuple[float, float]
    log_e_values: tuple[float, float] = (0.0, 0.0)


def barrier(alpha: float) -> float:
    """Log of the capital that proves one side at level alpha, which both sides share."""
    return float(np.log(2 / alpha))


def decide_mean(
    values: _Floats, *, spread: tuple[float, float], threshold: float = 0.0, alpha: float
) -> MeanDecision:
    """Decide on which side of a threshold the mean of bounded values lies.

    Each value has to have that mean whatever the ones before it were: images in random order,
    fresh draws. Ask again with more values as often as you like, and stop when you like.

    Args:
        values: (n,), each from ``spread``; their order does not matter.
        spread: smallest and largest possible value.
        threshold: strictly inside ``spread``.
        alpha: probability of a wrong decision, at any time; both sides share it.

    Raises:
        InvalidArgument: values outside the spread or not finite, an infinite spread, threshold
            not inside, alpha not between 0 and 1.
    """
    low, high = spread
    if not np.isfinite(high - low):
        raise InvalidArgument.of("spread", got=spread, expected="two finite numbers")
    if not low < threshold < high:
        raise InvalidArgument.of("threshold", got=threshold, expected=f"inside {spread}")
    if not 0 < alpha < 1:
        raise InvalidArgument.of("alpha", got=alpha, expected="between 0 and 1")
    slack = 1e-9 * (high - low)
    if not np.all((values >= low - slack) & (values <= high + slack)):
        raise InvalidArgument.of("values", got=f"values outside {spread}", expected="values inside")
    if not len(values):
        return MeanDecision(0, spread)
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0)
    at_threshold = (threshold - low) / (high - low)
    proof = barrier(alpha)
    above = _final(scaled, at_threshold).item()
    below = _final(1.0 - scaled, 1.0 - at_threshold).item()
    sign = int(above >= proof) - int(below >= proof)
    lower, upper = _refuted(scaled, proof), 1.0 - _refuted(1.0 - scaled, proof)
    if sign > 0:
        lower = max(lower, at_threshold)
    elif sign < 0:
        upper = min(upper, at_threshold)
    interval = (low + lower * (high - low), low + upper * (high - low))
    return MeanDecision(sign, interval, (above, below))


def _final(values: _Floats, means: float | _Floats) -> _Floats:
    """Log capital after all values, for each of the means."""
    return log_capital(values[None], means)[:, -1]


def _refuted(values: _Floats, proof: float) -> float:
    """The largest mean, to the precision of the search, that the values prove to be exceeded."""
    low, high = 0.0, 1.0
    for _ in range(_REFINEMENTS):
        # Refuting "at most m" refutes all below m with it, so those refuted come first.
        points = np.linspace(low, high, _POINTS + 2)
        count = int((_final(values, points[1:-1]) >= proof).sum())
        low, high = float(points[count]), float(points[count + 1])
    return low
