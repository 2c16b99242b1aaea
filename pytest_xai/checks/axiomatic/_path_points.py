"""Points on the path from a baseline to an input at which gradients are evaluated."""

__all__ = ["along_a_path"]

# Functions that divide by a norm may change direction this close to either end of the path.
_ENDS = (1e-6, 1e-4, 1e-3, 1e-2)
# Four points would miss most of the variation.
_LEAST_NODES = 16


def along_a_path(steps: int) -> list[float]:
    """Return both ends, points near them, and the midpoints of the steps, in increasing order.

    Args:
        steps: number of steps of the integral whose error is estimated. At least 16 midpoints are
            returned.

    Returns:
        Fractions of the path, from 0 to 1.
    """
    nodes = max(steps, _LEAST_NODES)
    middles = ((node + 0.5) / nodes for node in range(nodes))
    return sorted({0.0, *_ENDS, *middles, *(1 - end for end in _ENDS), 1.0})
