"""Pure functions of attribution maps: tensors in, one float64 value per image out.

NaN is the answer where there is none: a map with NaN or inf, or one for which the measure is not
defined. It stays with its image, and no limit is ever kept by it.

Where a map requires a gradient, the values of measures that are smooth in the maps' values have
one, too: `cosine`, `pearson`, `ssim`, `centre_of_mass`, `centre_of_mass_shift`, `l1_distance`,
`relative_difference`, `mass_inside` and `spatial`. Those of ranks, masks, histograms and
transports have none.
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
