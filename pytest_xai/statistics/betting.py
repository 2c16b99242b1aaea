"""The capital of a gambler who bets that a mean is larger than someone says; many runs at once.

For values from 0 to 1, who bets the share c of what he may on "the mean exceeds m" has his
capital multiplied by 1 - c + c y / m at each value y. If the mean is m or less, the capital is a
non-negative supermartingale: it ever exceeds 1/alpha with probability at most alpha (Ville's
inequality), whenever one looks and stops. Here the capital is split over several shares at the
start and each part is bet by itself (Waudby-Smith & Ramdas 2024, JRSS-B, section 4.4: grids of
constant bets, whose average is a supermartingale as well). Against bets that adapt to the past
this has three merits. The order of the values does not matter. A larger value never lowers the
capital, and a larger m never raises it, so that the means that are not refuted are an interval.
And the capital exceeds 1 only where the values' own mean exceeds m.
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_capital"]

_Floats = NDArray[np.float64]

# Geometric: for every distance from 3 % to 95 % of the way to the largest possible mean, one of
# them earns 90 % or more of what the best bet would. Their number costs a factor of 8 at most.
_SHARES: _Floats = np.geomspace(0.03, 0.95, 8)
# Values between two changes of scale, at most: floating numbers hold their products.
_STRETCH = 64
_DIGITS = 200


def log_capital(values: _Floats, means: float | _Floats) -> _Floats:
    """Log of the capital after each value, of bets that the mean exceeds ``means``.

    Args:
        values: (runs, n), each from 0 to 1, of every run in the order in which they came.
        means: above 0, at most 1; one for all runs, or (k,) for k runs or for a single run that
            is bet on k times.

    Returns:
        (runs, n), or (k, n); its exponential is an e-value at any time of stopping.
    """
    said = np.atleast_1d(np.asarray(means, dtype=np.float64))
    runs, count = max(len(values), len(said)), values.shape[1]
    found = np.empty((count, runs))
    shares = _SHARES[:, None]
    # Of each part by itself, so that one that lost nearly all can still win it back.
    logs = np.full((len(_SHARES), runs), -math.log(len(_SHARES)))
    gains = shares / said
    stretch = max(1, min(_STRETCH, int(_DIGITS / max(1.0, -math.log10(said.min())))))
    for start in range(0, count, stretch):
        steps = values.T[start : start + stretch, None] * gains + (1.0 - shares)
        # As np.cumprod would, at a third of its time.
        for place in range(1, len(steps)):
            steps[place] *= steps[place - 1]
        most = logs.max(axis=0)
        capital = np.einsum("spr,pr->sr", steps, np.exp(logs - most))
        found[start : start + stretch] = np.log(capital) + most
        logs += np.log(steps[-1])
    return found.T
