"""LIME of captum: a linear model fitted to the outputs for masked inputs."""

import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import choice, number, whole
from pytest_xai.explainers.adapting.draws import one_by_one
from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass
from pytest_xai.explainers.captum.features import features_of, superpixels

__all__ = ["ENTRIES", "lime"]


def lime(
    *,
    samples: int = 128,
    alpha: float = 0.0,
    kernel_width: float = 1.0,
    features: str = "blocks",
    blocks: int | None = None,
    segments: int = 50,
) -> Callable[..., Tensor]:
    """Coefficients of a linear model fitted to outputs for masked inputs (Ribeiro 2016, eq. 1, 2).

    Each feature is replaced by the baseline with probability 1/2. A sample has the weight
    ``exp(-d**2 / (2 kernel_width**2))``, where d is its cosine distance from the input. All
    channels are replaced together. In the map (N, 1, *spatial) each position has the coefficient of
    its feature. Random numbers come from torch's global generator and are the same for each image.
    captum computes the regression in float32 for every dtype of the inputs.

    Args:
        samples: number of perturbed copies per image; use at least twice the number of features.
        alpha: weight of the Lasso's L1 penalty, in units of the output. It sets small coefficients
            to zero, on some models all of them. 0 means weighted least squares; captum's default
            is 0.01.
        kernel_width: width of the kernel for the weights, above 0.
        features: "blocks" of a grid, or "superpixels" of an image by scikit-image's SLIC.
        blocks: blocks along each side; None means 32 for signals, 8 for images, 4 for volumes.
        segments: approximate number of superpixels.

    Raises:
        InvalidArgument: an option is outside its range.
        MissingDependency: when called: scikit-learn is missing, or scikit-image for superpixels.
        NotApplicable: when called: superpixels are requested of inputs that are not images.
    """
    samples = whole("samples", samples, least=2)
    alpha = _at_least_zero("alpha", alpha)
    kernel_width = _at_least_zero("kernel_width", kernel_width)
    if kernel_width == 0:
        raise InvalidArgument.of("kernel_width", got="0", expected="a width above 0")
    features = choice("features", features, ("blocks", "superpixels"))
    blocks = None if blocks is None else whole("blocks", blocks)
    segments = whole("segments", segments, least=2)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        explainer = _explainer(model, alpha, kernel_width)
        references = baseline.detach().expand_as(inputs)

        def one(image: slice) -> Tensor:
            values = inputs[image].detach()
            chosen = (
                features_of(values, blocks)
                if features == "blocks"
                else superpixels(values, segments)
            )
            with warnings.catch_warnings():
                # The Lasso's coordinate descent warns when its fit is exact up to rounding.
                warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
                coefficients: Tensor = explainer.attribute(
                    fresh(values).detach(),
                    baselines=references[image],
                    target=targets[image],
                    feature_mask=chosen,
                    n_samples=samples,
                    perturbations_per_eval=min(samples, images_per_pass(inputs)),
                )
            return coefficients.to(inputs)

        maps = one_by_one(len(inputs), one)
        return maps if inputs.ndim == 2 else maps[:, :1].clone()

    return explain


def _at_least_zero(name: str, value: object) -> float:
    found = number(name, value)
    if found < 0:
        raise InvalidArgument.of(name, got=repr(value), expected="a number >= 0")
    return found


def _explainer(model: nn.Module, alpha: float, kernel_width: float) -> Any:
    captum = require("captum.attr", extra="captum")
    require("sklearn.linear_model", extra="captum")
    regressions = require("captum._utils.models.linear_model", extra="captum")
    similarity = require("captum.attr._core.lime", extra="captum")
    regression = (
        regressions.SkLearnLasso(alpha=alpha) if alpha else regressions.SkLearnLinearRegression()
    )
    return captum.Lime(
        model,
        interpretable_model=regression,
        similarity_func=similarity.get_exp_kernel_similarity_function("cosine", kernel_width),
    )


ENTRIES = {
    "captum:Lime": Entry(
        factory=lime,
        method="lime",
        source="ribeiro2016",
        cost="{samples} forward",
        claims=claims("ribeiro2016", "implementation_invariance"),
        stochastic=True,
        needs_baseline=True,
    ),
}
