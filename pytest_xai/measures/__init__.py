"""Pure functions of attribution maps: they take tensors and return one float64 value per image.

The value is NaN for a map with NaN or inf, and for a map for which the measure is not defined. A
NaN concerns its own image only, and a NaN never satisfies a limit.

If a map requires a gradient, the values of measures that are smooth functions of the maps have one,
too: `cosine`, `pearson`, `ssim`, `centre_of_mass`, `centre_of_mass_shift`, `l1_distance`,
`relative_difference`, `mass_inside` and `spatial`. Measures of ranks, masks, histograms and
transports have no gradient.
"""

from pytest_xai.measures.differences import l1_distance, relative_difference, share_beyond
from pytest_xai.measures.edge_orientation import hog
from pytest_xai.measures.localisation import mass_inside, pointing_game
from pytest_xai.measures.masks import spatial, topk_mask
from pytest_xai.measures.mass_location import centre_of_mass, centre_of_mass_shift, earth_mover
from pytest_xai.measures.overlap import (
    dice,
    dice_of_masks,
    iou,
    iou_of_masks,
    topk_intersection,
)
from pytest_xai.measures.similarity import cosine, kendall, pearson, spearman, ssim

__all__ = [
    "centre_of_mass",
    "centre_of_mass_shift",
    "cosine",
    "dice",
    "dice_of_masks",
    "earth_mover",
    "hog",
    "iou",
    "iou_of_masks",
    "kendall",
    "l1_distance",
    "mass_inside",
    "pearson",
    "pointing_game",
    "relative_difference",
    "share_beyond",
    "spatial",
    "spearman",
    "ssim",
    "topk_intersection",
    "topk_mask",
]
