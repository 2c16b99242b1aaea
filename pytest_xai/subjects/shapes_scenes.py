"""Drawing of a geometric object over a crop of a photograph, from a random stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_xai.subjects.shapes_outlines import OUTLINES

__all__ = ["SIDE", "Scene", "draw_scene"]

SIDE = 64  # pixels
_RADII = (12.0, 20.0)  # of the circle around the object, in pixels
_CONTRAST = 150.0  # minimum of sum over the channels |object - background|, at most 765
_SHADING = 40.0  # maximum difference in grey levels from an object's centre to its rim
_GRAIN = 8.0  # maximum grey levels of noise on an object
_OUTLINES = tuple(OUTLINES.values())

Stream = np.random.RandomState


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """An image, its background and the mask of its object.

    Attributes:
        image: (64, 64, 3), uint8.
        background: the same image without the object.
        mask: (64, 64), true where the centre of a pixel is inside the outline. The rim is smoothed
            over one pixel, so that it also changes pixels up to half a pixel outside, and up to
            four pixels beyond the sharpest tips (stars, crescents).
    """

    image: NDArray[np.uint8]
    background: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def draw_scene(random: Stream, label: int, photographs: Sequence[NDArray[np.uint8]]) -> Scene:
    """Draw an object of a class with random position, size, angle, colour, shading and noise.

    Args:
        random: the random stream. NumPy guarantees that the legacy stream never changes.
        label: index of the class in `OUTLINES`.
        photographs: (H, W, 1 or 3) each, H and W at least 64; one is drawn.
    """
    background = _crop(random, photographs[random.randint(len(photographs))])
    x, y, radius = _place(random)
    distance = _OUTLINES[label](x, y) * radius
    mask = distance <= 0
    colours = _paint(random, background[mask].mean(0), x, y)
    share = np.clip(0.5 - distance, 0.0, 1.0)[:, :, np.newaxis]
    return Scene(
        image=_rounded(background * (1 - share) + colours * share),
        background=_rounded(background),
        mask=mask,
    )


def _crop(random: Stream, photograph: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Crop a photograph at random, rotate or mirror it, and change its colours slightly."""
    height, width, _ = photograph.shape
    top = random.randint(height - SIDE + 1)
    left = random.randint(width - SIDE + 1)
    piece = np.rot90(photograph[top : top + SIDE, left : left + SIDE], random.randint(4))
    if random.randint(2):
        piece = piece[:, ::-1]
    return piece * random.uniform(0.7, 1.0, size=3)


def _place(random: Stream) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return pixel coordinates in the frame of the object, and its radius in pixels."""
    radius = random.uniform(*_RADII)
    centre = random.uniform(radius, SIDE - radius, size=2)
    # The direction is drawn in a disc, so that no sine is needed.
    turn = random.uniform(-1, 1, size=2)
    while not 0.01 < turn[0] * turn[0] + turn[1] * turn[1] <= 1:
        turn = random.uniform(-1, 1, size=2)
    cosine, sine = turn / np.sqrt(turn[0] * turn[0] + turn[1] * turn[1])
    places = np.arange(SIDE) + 0.5
    down, right = (places[:, np.newaxis] - centre[0]), (places[np.newaxis] - centre[1])
    x, y = cosine * right + sine * down, cosine * down - sine * right
    return x / radius, y / radius, radius


def _paint(
    random: Stream, background: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return shaded colours of the object, (64, 64, 3), that contrast with the background."""
    colour = random.uniform(20, 235, size=3)
    while np.abs(colour - background).sum() < _CONTRAST:
        colour = random.uniform(20, 235, size=3)
    slope = random.uniform(-_SHADING, _SHADING, size=2)
    light: NDArray[np.float64] = (
        slope[0] * x + slope[1] * y + random.uniform(-_GRAIN, _GRAIN, size=(SIDE, SIDE))
    )
    return colour + light[:, :, np.newaxis]


def _rounded(levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
