"""Pure functions of attribution maps: tensors in, one float64 value per image out.

NaN is the answer where there is none: a map with NaN or inf, or one for which the measure is not
defined. It stays with its image, and no limit is ever kept by it.
"""

from pytest_xai.measures.differences import l1_distance, relative_difference, share_beyond
from pytest_xai.measures.localisation import mass_inside, pointing_game
from pytest_xai.measures.masks import spatial, topk_mask
from pytest_xai.measures.overlap import dice, dice_of_masks, iou, iou_of_masks
from pytest_xai.measures.similarity import cosine, pearson, spearman, ssim

__all__ = [
    "cosine",
    "dice",
    "dice_of_masks",
    "iou",
    "iou_of_masks",
    "l1_distance",
    "mass_inside",
    "pearson",
    "pointing_game",
    "relative_difference",
    "share_beyond",
    "spatial",
    "spearman",
    "ssim",
    "topk_mask",
]
