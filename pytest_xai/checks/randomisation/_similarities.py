"""Similarities of maps before and after a change: the figure of the checks, and further ones.

The figure ignores the overall sign of a map, because a sign-flipped map points to the same places.
Relevance starts with the logit, and with re-initialised weights the sign of the logit is random.
Maps of the same shape would then be unrelated on average, because half of them are sign-flipped.
Sixt 2020 also takes the larger similarity of the map and the sign-flipped map. The signs of pixels
relative to each other do count: they separate evidence for the class from evidence against it.
"""

from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import Tensor

from pytest_xai.measures import pearson, spatial, ssim
from pytest_xai.measures.edge_orientation import SMALLEST, oriented_gradients
from pytest_xai.measures.similarity import ranks

__all__ = ["FIGURE", "SIGNED", "PreparedMaps"]

FIGURE = "absolute rank correlation"
SIGNED = "rank correlation with sign"
_UNSIGNED = "rank correlation of absolute values"
_PEARSON = "Pearson correlation"
_HOG = "rank correlation of oriented gradients (HOG)"


class PreparedMaps:
    """A batch of maps, prepared once for all comparisons.

    Args:
        maps: (N, *shape).

    Attributes:
        maps: as given.
        constant: whether all pixels of a map have the same value, BoolTensor (N,).
        one_sign: whether no two pixels of a map have opposite signs, BoolTensor (N,).
        rows: the values that are correlated, (N, values), by the name of the similarity.
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        pixels = spatial(maps)
        low, high = pixels.flatten(1).aminmax(dim=1)
        self.constant = low == high
        self.one_sign = (low >= 0) | (high <= 0)
        # Spearman's correlation is Pearson's correlation of the ranks.
        self.rows: Mapping[str, Tensor] = {
            SIGNED: ranks(pixels),
            _UNSIGNED: ranks(pixels.abs()),
            _PEARSON: pixels.flatten(1),
            **_hog(pixels),
        }

    def like(self, other: "PreparedMaps") -> dict[str, Tensor]:
        """Return similarities to the original maps, of the same shape, by name, (N,) each.

        They are the absolute value of Spearman's rank correlation (`FIGURE`), from 0 to 1; and,
        from -1 to 1, the rank correlation itself (`SIGNED`), that of the absolute values of the
        pixels, Pearson's, that of histograms of oriented gradients (with scikit-image, for images
        of 8 x 8 and more), and SSIM (for images). They are NaN where a map is constant. The figure
        of a constant original is 1 if this map is constant too, because all its ranks are equal,
        and 0 otherwise.
        """
        found = {name: pearson(rows, other.rows[name]) for name, rows in self.rows.items()}
        if self.maps.ndim >= 3:  # tables have no spatial structure
            found["SSIM"] = ssim(self.maps, other.maps)
        size = found[SIGNED].abs()
        return {FIGURE: torch.where(other.constant, self.constant.to(size), size), **found}


def _hog(pixels: Tensor) -> dict[str, Tensor]:
    """Return ranks of the histograms of oriented gradients of images (Adebayo 2018)."""
    if pixels.ndim != 3 or min(pixels.shape[1:]) < SMALLEST or find_spec("skimage") is None:
        return {}
    return {_HOG: ranks(oriented_gradients(pixels))}
