"""Where on the way from a baseline to an input a gradient is looked at."""

__all__ = ["along_a_path"]

# Functions that divide by a norm may turn within such a share of the path at either end.
_ENDS = (1e-6, 1e-4, 1e-3, 1e-2)
# Four places would miss most of a variation.
_LEAST_NODES = 16


def along_a_path(steps: int) -> list[float]:
    """Both ends, places near them, and the middles of as many parts as there are steps, in order.

    Args:
        steps: of the integral whose error is estimated; 16 parts are looked at, at the least.

    Returns:
        Shares of the path, from 0 to 1.
    """
    nodes = max(steps, _LEAST_NODES)
    middles = ((node + 0.5) / nodes for node in range(nodes))
    return sorted({0.0, *_ENDS, *middles, *(1 - end for end in _ENDS), 1.0})
