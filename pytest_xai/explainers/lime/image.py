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
    """Weights of superpixels in a local linear model (Ribeiro 2016, sec. 3.4, by lime).

    Each superpixel is hidden with probability 1/2, by numpy's global generator. lime fits a ridge
    regression (alpha 1), in which the weight of a sample decreases with its cosine distance from
    the whole image. Each pixel of the map (N, 1, H, W) has the weight of its superpixel. The
    explained output is the target's logit, not its probability. On small images quickshift may find
    a single superpixel, and the map is then constant.

    Args:
        samples: number of images with hidden superpixels, including the whole image, at least 2.
        segments: superpixels by "quickshift" (lime's default), by "slic", or blocks of a "grid".
        per_side: superpixels per side, exact for "grid" (at most one per pixel) and approximate
            for "slic"; "quickshift" does not use it.
        hidden: the values of hidden superpixels: their "mean" (lime's default), "zero", or the
            "baseline".
        kernel_width: width of the kernel for the weights; lime's default is 0.25.

    Raises:
        InvalidArgument: a value of an option is not allowed.
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
                # Models that call view on their inputs need contiguous inputs.
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
    """Return the values (H, W, C) of hidden superpixels, for any number of channels."""
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
    """Suppress lime's progress bar, for which lime has no option."""
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
