"""PartitionExplainer of shap: Owen values for a hierarchy of halves of the image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from pytest_xai.core.seeds import seeded
from pytest_xai.explainers.adapting.arguments import choice, whole
from pytest_xai.explainers.adapting.black_box import scores
from pytest_xai.explainers.adapting.entry import IMAGES, Claim, Entry
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.shap.library import load, own_row

__all__ = ["ENTRIES", "partition_explainer"]

_MASKS = ("baseline", "blur")
# shap's default number of masked images between two choices of the halves to divide next.
_AT_ONCE = 10


def partition_explainer(
    *, evaluations: int = 500, mask: str = "baseline", blur: int | None = None
) -> Callable[..., Tensor]:
    """Owen values for a hierarchy of halves of the image (Owen 1977, by shap).

    The halves with the largest effects are divided first, down to single values of single
    channels, until the evaluations are used up. A region that was not divided spreads its value
    equally over its values. Ties are broken at random, in the same way in every call.

    Args:
        evaluations: largest number of evaluations of the model, at least 4.
        mask: the values at hidden positions: the "baseline", or the image after a "blur".
        blur: side of the box filter for "blur"; None means half of the shorter side.

    Raises:
        InvalidArgument: ``evaluations`` or ``blur`` is not such an integer, or ``mask`` is unknown.
    """
    evaluations = whole("evaluations", evaluations, least=4)
    mask = choice("mask", mask, _MASKS)
    blur = None if blur is None else whole("blur", blur)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        shap = load()

        def one(image: slice) -> Tensor:
            shown = _channels_last(inputs[image])
            hidden = _channels_last(own_row(baseline, image))
            values = _blurred(shown[0], blur) if mask == "blur" else hidden[0]

            def masked(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
                # Models that call view on their inputs need contiguous inputs.
                points = torch.from_numpy(images).to(inputs.device).movedim(-1, 1).contiguous()
                at_once = images_per_pass(inputs)
                return scores(model, points, targets[image], at_once=at_once)

            explainer = shap.PartitionExplainer(masked, shap.maskers.Image(values))
            with seeded(0):
                explanation = explainer(
                    shown,
                    # shap evaluates in pairs and would exceed an odd number by one.
                    max_evals=evaluations - evaluations % 2,
                    batch_size=_AT_ONCE,
                    silent=True,
                )
            return torch.from_numpy(explanation.values).movedim(-1, 1)

        maps = [one(slice(index, index + 1)) for index in range(len(inputs))]
        return torch.cat(maps).to(inputs)

    return explain


def _channels_last(images: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = images.detach().movedim(1, -1).contiguous().cpu().numpy()
    return array


def _blurred(image: np.ndarray[Any, Any], side: int | None) -> np.ndarray[Any, Any]:
    side = max(2, min(image.shape[:2]) // 2) if side is None else side
    blurred: np.ndarray[Any, Any] = ndimage.uniform_filter(
        image, size=(side, side, 1), mode="mirror"
    )
    return blurred


ENTRIES = {
    "shap:PartitionExplainer": Entry(
        factory=partition_explainer,
        method="owen_values",
        source="owen1977",
        cost="at most {evaluations} forward",
        claims=tuple(
            Claim(check=check, source="owen1977", when={"mask": "baseline"})
            for check in (
                *("summation_to_delta", "sensitivity_a", "shift_invariance"),
                *("positive_homogeneity", "sign_convention"),
            )
        ),
        sign="evidence",
        inputs=IMAGES,
        needs_baseline=True,
    ),
}
