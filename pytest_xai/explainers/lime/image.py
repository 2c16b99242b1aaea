"""LimeImageExplainer of lime: a ridge regression on superpixels shown and hidden."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import choice, number, whole
from pytest_xai.explainers.adapting.black_box import scores
from pytest_xai.explainers.adapting.draws import one_by_one
from pytest_xai.explainers.adapting.entry import IMAGES, Entry, claims
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.lime.segments import SEGMENTS, superpixels

__all__ = ["ENTRIES", "lime_image"]

_HIDDEN = ("mean", "zero", "baseline")


def lime_image(
    *,
    samples: int = 1000,
    segments: str = "quickshift",
    per_side: int = 4,
    hidden: str = "mean",
    kernel_width: float = 0.25,
) -> Callable[..., Tensor]:
    """Weights of superpixels in a linear model near the image (Ribeiro 2016, sec. 3.4, by lime).

    Superpixels are shown or hidden by the toss of a coin from numpy's global generator; lime fits a
    ridge regression (alpha 1) with weights that fall with the cosine distance to the whole image.
    Each pixel of the map (N, 1, H, W) has the weight of its superpixel. The output explained is the
    target's logit, not its probability. On small images quickshift finds one superpixel only,
    and the map is constant.

    Args:
        samples: images with superpixels hidden, the whole image included, at least 2.
        segments: superpixels by "quickshift" (lime's own choice), by "slic", or blocks of a "grid".
        per_side: superpixels per side: of "grid" exactly, at most one per pixel; of "slic" about.
        hidden: what hidden superpixels show: their own "mean" (lime's own choice), "zero", or the
            "baseline".
        kernel_width: of the weights; lime's own is 0.25.

    Raises:
        InvalidArgument: an option has no such value.
    """
    samples = whole("samples", samples, least=2)
    segments = choice("segments", segments, SEGMENTS)
    per_side = whole("per_side", per_side)
    hidden = choice("hidden", hidden, _HIDDEN)
    kernel_width = number("kernel_width", kernel_width)
    if kernel_width <= 0:
        raise InvalidArgument.of("kernel_width", got=repr(kernel_width), expected="a number > 0")

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        lime = require("lime.lime_image", extra="lime")
        at_once = images_per_pass(inputs)

        def one(image: slice) -> Tensor:
            shown = inputs[image].detach()
            numbers = superpixels(shown, segments, per_side)
            row = baseline if len(baseline) == 1 else baseline[image]
            colour = _colour(shown, numbers, row.detach(), hidden)

            def predict(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
                # Models that call view on their inputs take none whose memory is in another order.
                points = torch.from_numpy(images).to(shown).movedim(-1, 1).contiguous()
                return scores(model, points, targets[image], at_once=at_once)[:, None]

            with _silent(lime):
                explanation = lime.LimeImageExplainer(
                    kernel_width=kernel_width, feature_selection="none"
                ).explain_instance(
                    _channels_last(shown),
                    predict,
                    labels=(0,),
                    top_labels=None,
                    hide_color=colour,
                    num_samples=samples,
                    batch_size=at_once,
                    segmentation_fn=lambda _: numbers,
                )
            weights = np.zeros(int(numbers.max()) + 1)
            for superpixel, weight in explanation.local_exp[0]:
                weights[superpixel] = weight
            return torch.from_numpy(weights[numbers])[None, None]

        return one_by_one(len(inputs), one).to(inputs)

    return explain


def _channels_last(image: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = image[0].movedim(0, -1).contiguous().cpu().numpy()
    return array


def _colour(
    shown: Tensor, numbers: np.ndarray[Any, Any], row: Tensor, hidden: str
) -> np.ndarray[Any, Any]:
    """What hidden superpixels show, (H, W, C); lime itself takes means of three channels only."""
    if hidden == "baseline":
        return _channels_last(row)
    values = _channels_last(shown)
    colour = np.zeros_like(values)
    if hidden == "mean":
        for superpixel in range(int(numbers.max()) + 1):
            colour[numbers == superpixel] = values[numbers == superpixel].mean(0)
    return colour


@contextmanager
def _silent(lime: Any) -> Iterator[None]:
    """Take lime's progress bar away, which it has no switch for."""
    bar = lime.tqdm
    lime.tqdm = iter
    try:
        yield
    finally:
        lime.tqdm = bar


ENTRIES = {
    "lime:LimeImage": Entry(
        factory=lime_image,
        method="lime",
        source="ribeiro2016",
        cost="{samples} forward",
        claims=claims("ribeiro2016", "implementation_invariance"),
        inputs=IMAGES,
        needs_baseline=True,
        stochastic=True,
    ),
}
