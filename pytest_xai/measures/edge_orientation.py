"""Similarity of the directions of edges in two maps of the same image."""

import torch
from torch import Tensor

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument
from pytest_xai.measures.arguments import float64_pair, only_finite
from pytest_xai.measures.masks import spatial
from pytest_xai.measures.similarity import spearman

__all__ = ["SMALLEST", "hog", "oriented_gradients"]

# Side of a cell in Adebayo's code, and the number of cells along a side of a smaller map.
_CELL, _CELLS = 16, 4
# Side of the smallest map whose cells hold 2 x 2 pixels.
SMALLEST = 2 * _CELLS


def hog(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return the rank correlation of two maps' histograms of oriented gradients, in [-1, 1].

    The histograms are those of Dalal and Triggs (2005). As in Adebayo et al. 2018, section 3, the
    channels of each map are summed and scaled to [0, 1]. There are 9 directions and blocks of
    3 x 3 cells (L2-Hys). The side of a cell is 16 pixels, or a quarter of the smallest side if
    that is less.

    Args:
        map_a: floating (N, C, H, W).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN if the sum over the channels of a map is constant, and for all images if
        H or W is less than 8.

    Raises:
        InvalidArgument: a map is not as above.
        MissingDependency: scikit-image is not installed.
    """
    a, b = float64_pair(map_a, map_b)
    if a.ndim != 4:
        raise InvalidArgument.of("map_a", got=f"shape {tuple(a.shape)}", expected="(N, C, H, W)")
    a, b = spatial(a), spatial(b)
    if min(a.shape[1:]) < SMALLEST:
        return a.new_full((len(a),), torch.nan)
    return only_finite(spearman(oriented_gradients(a), oriented_gradients(b)), a, b)


def oriented_gradients(pixels: Tensor) -> Tensor:
    """Return the histograms of each map scaled to [0, 1]; all 0 for a constant map.

    Args:
        pixels: floating (N, H, W), with H and W of 8 or more.

    Returns:
        (N, values) float64, without a graph.

    Raises:
        MissingDependency: scikit-image is not installed.
    """
    histograms = require("skimage.feature").hog
    side = min(_CELL, min(pixels.shape[1:]) // _CELLS)
    pixels = pixels.detach()
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    unit = ((pixels - low) / (high - low)).nan_to_num().cpu().numpy()
    rows = [torch.from_numpy(histograms(image, pixels_per_cell=(side, side))) for image in unit]
    if not rows:
        return pixels.new_zeros(0, 1, dtype=torch.float64)
    return torch.stack(rows).to(pixels.device)
