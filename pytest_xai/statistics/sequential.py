"""Sequential decisions about a mean, valid at any stopping time.

Two bets are evaluated, that the mean is above the threshold and that it is below (`betting`). A
side is proven when its capital reaches 2/alpha times the initial capital. The probability of a
wrong proof of either side is at most alpha, however often the values are checked. The means that
neither bet rejects form a confidence sequence. It contains the mean of the observed values at all
times, so that the decision and the reported interval never contradict each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_xai.errors import InvalidArgument
from pytest_xai.statistics.betting import log_capital

__all__ = ["MeanDecision", "barrier", "decide_mean"]

_Floats = NDArray[np.float64]

# The precision of the interval's ends is the range divided by 65 ** 3.
_POINTS, _REFINEMENTS = 64, 3


@dataclass(frozen=True, slots=True)
class MeanDecision:
    """The decision about the mean of the values.

    Attributes:
        sign: 1: the mean is above the threshold, -1: below, 0: undecided.
        interval: contains the mean at all times with probability at least 1 - alpha.
        log_e_values: logs of two e-values (the capitals): against "the mean is at most the
            threshold" and against "the mean is at least the threshold".
    """

    sign: int
    interval: tuple[float, float]
    log_e_values: tuple[float, float] = (0.0, 0.0)


def barrier(alpha: float) -> float:
    """Return the log capital that proves one of the two sides at joint level alpha."""
    return float(np.log(2 / alpha))


def decide_mean(
    values: _Floats, *, spread: tuple[float, float], threshold: float = 0.0, alpha: float
) -> MeanDecision:
    """Decide on which side of a threshold the mean of bounded values lies.

    Each value must have this mean conditionally on the values before it, as images in random order
    or independent draws do. The function can be called again with more values at any time, and the
    caller can stop at any time.

    Args:
        values: (n,), each within ``spread``; their order does not matter.
        spread: smallest and largest possible value.
        threshold: strictly inside ``spread``.
        alpha: probability of a wrong decision at any time, for both sides together.

    Raises:
        InvalidArgument: values are outside ``spread`` or not finite, ``spread`` is infinite,
            ``threshold`` is not inside ``spread``, or ``alpha`` is not between 0 and 1.
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
    lower, upper = _largest_rejected(scaled, proof), 1.0 - _largest_rejected(1.0 - scaled, proof)
    if sign > 0:
        lower = max(lower, at_threshold)
    elif sign < 0:
        upper = min(upper, at_threshold)
    interval = (low + lower * (high - low), low + upper * (high - low))
    return MeanDecision(sign, interval, (above, below))


def _final(values: _Floats, means: float | _Floats) -> _Floats:
    """Return the log capital after all values, for each of the means."""
    return log_capital(values[None], means)[:, -1]


def _largest_rejected(values: _Floats, proof: float) -> float:
    """Return the largest mean that the values reject as too small, up to the precision."""
    low, high = 0.0, 1.0
    for _ in range(_REFINEMENTS):
        # If "at most m" is rejected, so are all smaller means: rejected points come first.
        points = np.linspace(low, high, _POINTS + 2)
        count = int((_final(values, points[1:-1]) >= proof).sum())
        low, high = float(points[count]), float(points[count + 1])
    return low
