"""Decisions about a mean that are valid whenever they stop.

For values in a known range a gambler bets against "the mean is m". Under that hypothesis the
capital is a non-negative martingale, so it ever exceeds 1/alpha with probability at most alpha
(Ville's inequality): the test may be looked at after every image and stopped at any time. The bets
follow Waudby-Smith & Ramdas 2024 (JRSS-B, section 4.3 and appendix B: approximate growth-rate
adaptive bets).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_xai.errors import InvalidArgument

__all__ = ["MeanDecision", "decide_mean"]

_Floats = NDArray[np.float64]

# At most this share of what would ruin the gambler is bet, so that no single image can.
_BOLDNESS = 0.75
_GRID = 400


@dataclass(frozen=True, slots=True)
class MeanDecision:
    """What the values prove about their mean.

    Attributes:
        sign: 1: the mean is above the threshold, -1: below, 0: undecided.
        interval: holds the mean at all times with probability at least 1 - alpha.
    """

    sign: int
    interval: tuple[float, float]


def decide_mean(
    values: _Floats, *, spread: tuple[float, float], threshold: float = 0.0, alpha: float
) -> MeanDecision:
    """Decide on which side of a threshold the mean of bounded values lies.

    Args:
        values: (n,), in the order in which they came; each from ``spread``.
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
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0)
    grid = np.linspace(0.0, 1.0, _GRID + 1)[1:-1]
    at_threshold = (threshold - low) / (high - low)
    candidates = np.append(grid, at_threshold)
    barrier = np.log(2 / alpha)
    above = _peak_log_capital(scaled, candidates) >= barrier
    below = _peak_log_capital(1.0 - scaled, 1.0 - candidates) >= barrier
    sign = int(above[-1]) - int(below[-1])
    lower, upper = _kept(grid, above[:-1], below[:-1])
    if sign > 0:
        lower = max(lower, at_threshold)
    elif sign < 0:
        upper = min(upper, at_threshold)
    return MeanDecision(sign, (low + lower * (high - low), low + upper * (high - low)))


def _peak_log_capital(values: _Floats, means: _Floats) -> _Floats:
    """Largest log capital so far of bets that the mean exceeds each of ``means``, (len(means),)."""
    count = np.arange(1, len(values) + 1)
    # Estimates from the past alone, started at a prior image of value 1/2 and variance 1/4.
    estimate = (0.5 + np.cumsum(values)) / (count + 1)
    variance = (0.25 + np.cumsum((values - estimate) ** 2)) / (count + 1)
    past_mean = np.concatenate([[0.5], estimate[:-1]])[:, None]
    past_variance = np.concatenate([[0.25], variance[:-1]])[:, None]
    edge = past_mean - means
    bets = np.clip(edge / (past_variance + edge**2), 0.0, _BOLDNESS / means)
    capital = np.cumsum(np.log1p(bets * (values[:, None] - means)), axis=0)
    peak: _Floats = capital.max(axis=0, initial=0.0)
    return peak


def _kept(grid: _Floats, above: NDArray[np.bool_], below: NDArray[np.bool_]) -> tuple[float, float]:
    """Ends of the means that neither side refutes."""
    # Refuting "at most m" refutes all below m with it; the bets make that monotone but for
    # rounding, so the run from the end counts.
    first = int(np.argmin(above)) if not above.all() else len(grid)
    last = int(np.argmin(below[::-1])) if not below.all() else len(grid)
    lower = float(grid[first - 1]) if first > 0 else 0.0
    upper = float(grid[len(grid) - last]) if last > 0 else 1.0
    return lower, max(lower, upper)
