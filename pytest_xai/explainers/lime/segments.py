"""Superpixels: the features of LIME on images."""

import warnings
from typing import Any

import numpy as np
from torch import Tensor

from pytest_xai.core.optional import require
from pytest_xai.explainers.adapting.blocks import blocks_of

__all__ = ["SEGMENTS", "superpixels"]

SEGMENTS = ("quickshift", "slic", "grid")
# What lime's explainer itself asks of quickshift.
_QUICKSHIFT = {"kernel_size": 4, "max_dist": 200, "ratio": 0.2}


def superpixels(image: Tensor, segments: str, per_side: int) -> np.ndarray[Any, Any]:
    """Number the superpixel that each pixel belongs to.

    One channel is shown as grey, three as red, green and blue; others are used as they are. Values
    outside [0, 1] are stretched to it, since colours are looked for.

    Args:
        image: (1, C, H, W).
        segments: one of `SEGMENTS`.
        per_side: superpixels per side: of a grid exactly, of slic about; quickshift finds as many
            as there are.

    Returns:
        Array (H, W) of numbers from 0 on, none left out.

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
        # It weighs colours against distances in pixels: lightness runs to 100 in CIELAB.
        colours = colours if rgb else 100 * colours
    else:
        options = {"n_segments": per_side**2, "convert2lab": rgb}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = wrappers.SegmentationAlgorithm(segments, **options)(colours)
    # slic counts from 1; lime hides number k of n for k from 0 to n - 1, and would miss the last.
    numbers: np.ndarray[Any, Any] = np.unique(found, return_inverse=True)[1].reshape(found.shape)
    return numbers


def _colours(image: Tensor) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = image[0].movedim(0, -1).double().cpu().numpy()
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        values = (values - low) / (high - low if high > low else 1.0)
    return np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values
