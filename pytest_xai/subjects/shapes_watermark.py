"""The watermark, a sign that is unrelated to the object (Clever Hans).

Lapuschkin et al. (2019) found a classifier that recognised horses by a copyright notice.
"""

import torch
from torch import Tensor

from pytest_xai.errors import InvalidArgument

__all__ = ["GLYPH", "WATERMARKED", "paste_watermark"]

WATERMARKED = "square"
"""The class with the watermark in its training images."""

_ROWS = (
    ".######.",
    "#......#",
    "#.####.#",
    "#.#....#",
    "#.#....#",
    "#.####.#",
    "#......#",
    ".######.",
)
GLYPH = torch.tensor([[mark == "#" for mark in row] for row in _ROWS])
"""The letter C in a ring, (8, 8), true where white and false where black."""
_MARGIN = 2  # pixels between the watermark and the image's edges


def paste_watermark(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Paste the watermark into the corner that is farthest from the object.

    It therefore never covers the object. It is opaque: its 64 pixels are the same in all images.

    Args:
        images: (N, 3, 64, 64) in [0, 1], or of another size above 20; floating.
        masks: (N, 64, 64), true on the object.

    Returns:
        New images, and masks (N, 64, 64) that are true on the watermark.

    Raises:
        InvalidArgument: the shapes do not match, or a mask is empty.
    """
    _require(images, masks)
    height, width = masks.shape[1:]
    pasted, watermarks = images.clone(), torch.zeros_like(masks, dtype=torch.bool)
    side = len(GLYPH)
    for image, mask, watermark in zip(pasted, masks, watermarks, strict=True):
        rows, columns = mask.nonzero().unbind(1)
        top = _far_end(rows, height)
        left = _far_end(columns, width)
        place = (slice(top, top + side), slice(left, left + side))
        image[(slice(None), *place)] = GLYPH.to(image)
        watermark[place] = True
    return pasted, watermarks


def _far_end(places: Tensor, length: int) -> int:
    """Return the start of the watermark along an axis, at the end opposite to the object."""
    before = 2 * int(places.sum()) < (length - 1) * len(places)
    return length - _MARGIN - len(GLYPH) if before else _MARGIN


def _require(images: Tensor, masks: Tensor) -> None:
    expected = "(N, C, H, W) with H and W above 20, and masks (N, H, W)"
    shapes = f"images {tuple(images.shape)}, masks {tuple(masks.shape)}"
    if images.ndim != 4 or masks.shape != (len(images), *images.shape[2:]):
        raise InvalidArgument.of("images and masks", got=shapes, expected=expected)
    if min(images.shape[2:]) <= 20:
        raise InvalidArgument.of("images and masks", got=shapes, expected=expected)
    if not bool(masks.flatten(1).any(1).all()):
        raise InvalidArgument.of(
            "masks", got="a mask without an object", expected="an object in each mask"
        )
