"""The outlines of the geometric objects as signed distances, negative inside.

Each function takes coordinates in which the object lies in the unit circle around the origin. It
returns the distance in the same unit, which is exact along straight edges and arcs and a bound
beyond corners. The functions use only arithmetic that IEEE 754 defines exactly (no sines), so that
an object has the same pixels on every machine.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["OUTLINES"]

_Array = NDArray[np.float64]
# Unit vectors at 0, 120, 240 degrees, and at 0, 72, 144, 216, 288.
_THIRDS = ((1.0, 0.0), (-0.5, 0.8660254037844386), (-0.5, -0.8660254037844386))
_FIFTHS = (
    (1.0, 0.0),
    (0.30901699437494745, 0.9510565162951535),
    (-0.8090169943749475, 0.5877852522924731),
    (-0.8090169943749475, -0.5877852522924731),
    (0.30901699437494745, -0.9510565162951535),
)
_LONG, _SHORT = 0.95, 0.3  # half the sides of a bar; its corners are at 0.996


def _disc(x: _Array, y: _Array) -> _Array:
    return np.sqrt(x * x + y * y) - 0.8


def _ring(x: _Array, y: _Array) -> _Array:
    return np.abs(np.sqrt(x * x + y * y) - 0.77) - 0.2


def _square(x: _Array, y: _Array) -> _Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.7


def _triangle(x: _Array, y: _Array) -> _Array:
    """The points on the inner side of three lines."""
    sides: _Array = np.stack([a * x + b * y for a, b in _THIRDS])
    farthest: _Array = sides.max(0)
    return farthest - 0.5


def _star(x: _Array, y: _Array) -> _Array:
    """A pentagram: the points on the inner side of at least four of its five lines."""
    sides: _Array = np.stack([a * x + b * y for a, b in _FIFTHS])
    second: _Array = np.sort(sides, axis=0)[-2]
    return second - _FIFTHS[1][0]


def _cross(x: _Array, y: _Array) -> _Array:
    return np.minimum(_bar(x, y), _bar(y, x))


def _crescent(x: _Array, y: _Array) -> _Array:
    """A disc without a smaller disc next to its centre."""
    bitten = np.sqrt((x - 0.45) * (x - 0.45) + y * y) - 0.7
    return np.maximum(np.sqrt(x * x + y * y) - 0.95, -bitten)


def _bar(x: _Array, y: _Array) -> _Array:
    return np.maximum(np.abs(x) - _LONG, np.abs(y) - _SHORT)


OUTLINES: dict[str, Callable[[_Array, _Array], _Array]] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
    "bar": _bar,
}
"""Signed distance by class name, in the order of the labels."""
