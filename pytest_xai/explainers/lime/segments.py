"""Superpixels, which are the features of LIME on images."""

import warnings
from typing import Any

import numpy as np
from torch import Tensor

from pytest_xai.core.optional import require
from pytest_xai.explainers.adapting.blocks import blocks_of

__all__ = ["SEGMENTS", "superpixels"]

SEGMENTS = ("quickshift", "slic", "grid")
# The arguments with which lime calls quickshift by default.
_QUICKSHIFT = {"kernel_size": 4, "max_dist": 200, "ratio": 0.2}


def superpixels(image: Tensor, segments: str, per_side: int) -> np.ndarray[Any, Any]:
    """Return the number of the superpixel that each pixel belongs to.

    One channel is treated as grey, three as red, green and blue; other numbers of channels are used
    as they are. If values lie outside [0, 1], the image is scaled to that range.

    Args:
        image: (1, C, H, W).
        segments: one of `SEGMENTS`.
        per_side: superpixels per side, exact for a grid and approximate for slic; quickshift does
            not use it.

    Returns:
        Array (H, W) of consecutive numbers from 0.

    Raises:
        MissingDependency: lime is not installed.
    """
    if segments == "grid":
        blocks: np.ndarray[Any, Any] = blocks_of(image, per_side).cpu().numpy()
        return blocks
    wrappers = require("lime.wrappers.scikit_image", extra="lime")
    colours = _colours(image)
    rgb = colours.shape[-1] == 3
    if segments == "quickshift":
        options = {**_QUICKSHIFT, "convert2lab": rgb}
        # quickshift compares colours with distances in pixels, on the scale of lightness (to 100).
        colours = colours if rgb else 100 * colours
    else:
        options = {"n_segments": per_side**2, "convert2lab": rgb}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = wrappers.SegmentationAlgorithm(segments, **options)(colours)
    # lime expects consecutive numbers from 0, but slic counts from 1.
    numbers: np.ndarray[Any, Any] = np.unique(found, return_inverse=True)[1].reshape(found.shape)
    return numbers


def _colours(image: Tensor) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = image[0].movedim(0, -1).double().cpu().numpy()
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        values = (values - low) / (high - low if high > low else 1.0)
    return np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values
