"""E-values from betting: the capital of bets that a mean exceeds a given value.

The values lie in [0, 1]. A bet of the share c, 0 < c < 1, on "the mean exceeds m" multiplies the
capital by 1 - c + c y / m at each value y. If the mean is at most m, the capital is a non-negative
supermartingale. By Ville's inequality it then exceeds 1/alpha at any time with probability at most
alpha, even if the capital is checked after every value and the test stops at any time.

The initial capital is divided over several shares, and each part is bet separately (Waudby-Smith &
Ramdas 2024, JRSS-B, section 4.4: the average of a grid of constant bets is a supermartingale as
well). Compared with bets that adapt to the past, this has three advantages. The order of the values
does not matter. A larger value never lowers the capital and a larger m never raises it, so that
the means that are not rejected form an interval. The capital exceeds 1 only if the mean of the
values exceeds m.
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_capital"]

_Floats = NDArray[np.float64]

# A geometric grid: for every distance of 3 % to 95 % of the way to the largest possible mean, one
# share has at least 90 % of the growth of the best bet. Eight shares cost a factor of at most 8.
_SHARES: _Floats = np.geomspace(0.03, 0.95, 8)
# Maximum number of values between two rescalings, so that products neither over- nor underflow.
_STRETCH = 64
_DIGITS = 200


def log_capital(values: _Floats, means: float | _Floats) -> _Floats:
    """Return the log capital after each value, for bets that the mean exceeds ``means``.

    Args:
        values: (runs, n), each in [0, 1], in the order of observation.
        means: above 0 and at most 1; one for all runs, or (k,) for k runs, or for k bets on a
            single run.

    Returns:
        (runs, n), or (k, n); the exponential is an e-value at any stopping time.
    """
    tested = np.atleast_1d(np.asarray(means, dtype=np.float64))
    runs, count = max(len(values), len(tested)), values.shape[1]
    found = np.empty((count, runs))
    shares = _SHARES[:, None]
    # Logs of the parts, so that a part that lost nearly everything can still recover.
    logs = np.full((len(_SHARES), runs), -math.log(len(_SHARES)))
    gains = shares / tested
    stretch = max(1, min(_STRETCH, int(_DIGITS / max(1.0, -math.log10(tested.min())))))
    for start in range(0, count, stretch):
        steps = values.T[start : start + stretch, None] * gains + (1.0 - shares)
        # Equivalent to np.cumprod, in a third of the time.
        for place in range(1, len(steps)):
            steps[place] *= steps[place - 1]
        most = logs.max(axis=0)
        capital = np.einsum("spr,pr->sr", steps, np.exp(logs - most))
        found[start : start + stretch] = np.log(capital) + most
        logs += np.log(steps[-1])
    return found.T
