"""How alike maps are before and after: the figure, and what stands beside it.

The figure does not count the sign of a map as a whole: a map that is turned over points to the
same places. Relevance starts with the logit, and the sign of a logit whose weights are drawn anew
is that of a coin: maps of one shape would come out as unrelated on average, when half of them
are turned over. Sixt 2020 take the larger similarity of the map and of the map turned over, too.
The signs of the pixels against each other count: that is where evidence is for and where against.
"""

from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import Tensor

from pytest_xai.measures import pearson, spatial, ssim
from pytest_xai.measures.edge_orientation import SMALLEST, oriented_gradients
from pytest_xai.measures.similarity import ranks

__all__ = ["FIGURE", "SIGNED", "Form"]

FIGURE = "rank correlation"
SIGNED = "with its sign"


class Form:
    """A batch of maps in the forms in which they are compared, computed once.

    Args:
        maps: (N, *shape).

    Attributes:
        maps: as given.
        constant: whether a map has one value at all pixels, BoolTensor (N,).
        one_sign: whether no two pixels of a map have opposite signs, BoolTensor (N,).
        rows: (N, values) by the name of the similarity: what is correlated for it.
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        pixels = spatial(maps)
        low, high = pixels.flatten(1).aminmax(dim=1)
        self.constant = low == high
        self.one_sign = (low >= 0) | (high <= 0)
        # Spearman's is Pearson's of the ranks.
        self.rows: Mapping[str, Tensor] = {
            SIGNED: ranks(pixels),
            "without sign": ranks(pixels.abs()),
            "Pearson": pixels.flatten(1),
            **_hog(pixels),
        }

    def like(self, other: "Form") -> dict[str, Tensor]:
        """Similarities to the original maps, of the same shape, by name, (N,) each.

        The size of Spearman's rank correlation (`FIGURE`), from 0 to 1; from -1 to 1 the
        correlation itself (`SIGNED`), that of the absolute values of the pixels ("without sign"),
        Pearson's, that of the ranks of histograms of oriented gradients (with scikit-image, for
        images of 8 x 8 and more), and SSIM (for images). NaN where a map is constant, but for the
        figure where the original is: 1 if this one is constant too, as all its ranks are then
        equal, else 0.
        """
        found = {name: pearson(rows, other.rows[name]) for name, rows in self.rows.items()}
        if self.maps.ndim >= 3:  # tables have no structure in space
            found["SSIM"] = ssim(self.maps, other.maps)
        size = found[SIGNED].abs()
        return {FIGURE: torch.where(other.constant, self.constant.to(size), size), **found}


def _hog(pixels: Tensor) -> dict[str, Tensor]:
    """Ranks of the histograms of oriented gradients, where there are any (Adebayo 2018)."""
    if pixels.ndim != 3 or min(pixels.shape[1:]) < SMALLEST or find_spec("skimage") is None:
        return {}
    return {"HOG": ranks(oriented_gradients(pixels))}
