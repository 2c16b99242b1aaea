"""How alike maps are before and after: the figure, and what stands beside it."""

from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import Tensor

from pytest_xai.measures import pearson, spatial, spearman, ssim
from pytest_xai.measures.similarity import ranks

__all__ = ["FIGURE", "Form", "rank_correlation"]

FIGURE = "rank correlation"

# Side of a HOG cell in Adebayo's code, and how many cells a smaller map shall have along a side.
_CELL, _CELLS = 16, 4


def rank_correlation(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Spearman's, with the sign, pixel by pixel: what the channels of a pixel got is added."""
    return spearman(spatial(map_a), spatial(map_b))


class Form:
    """A batch of maps in the forms in which they are compared, computed once.

    Args:
        maps: (N, *shape).

    Attributes:
        maps: as given.
        rows: (N, values) by the name of the similarity: what is correlated for it.
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        pixels = spatial(maps)
        # Spearman's is Pearson's of the ranks.
        self.rows: Mapping[str, Tensor] = {
            FIGURE: ranks(pixels),
            "without sign": ranks(pixels.abs()),
            "Pearson": pixels.flatten(1),
            **_hog(pixels),
        }

    def like(self, other: "Form") -> dict[str, Tensor]:
        """Similarities to other maps of the same shape by name, from -1 to 1, (N,) each.

        The rank correlation with the sign (`FIGURE`) and without, Pearson's correlation, that of
        the ranks of histograms of oriented gradients (with scikit-image, for images of 8 x 8 and
        more), and SSIM (for images). NaN where a map is constant.
        """
        found = {name: pearson(rows, other.rows[name]) for name, rows in self.rows.items()}
        if self.maps.ndim >= 3:  # tables have no structure in space
            found["SSIM"] = ssim(self.maps, other.maps)
        return found


def _hog(pixels: Tensor) -> dict[str, Tensor]:
    """Ranks of the histograms of oriented gradients of maps in [0, 1] (Adebayo 2018)."""
    if pixels.ndim != 3 or min(pixels.shape[1:]) < 2 * _CELLS or find_spec("skimage") is None:
        return {}
    from skimage.feature import hog

    side = min(_CELL, min(pixels.shape[1:]) // _CELLS)
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    unit = ((pixels - low) / (high - low)).nan_to_num().cpu().numpy()
    rows = [torch.from_numpy(hog(image, pixels_per_cell=(side, side))) for image in unit]
    return {"HOG": ranks(torch.stack(rows)).to(pixels.device)}
