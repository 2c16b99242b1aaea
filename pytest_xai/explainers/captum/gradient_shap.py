"""GradientShap of captum, and the noise level as a share of an image's range."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import number, whole
from pytest_xai.explainers.adapting.draws import one_by_one
from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.captum.features import reference_set, references_like

__all__ = ["ENTRIES", "gradient_shap", "noise_of", "share"]


def gradient_shap(
    *, draws: int = 50, sigma: float = 0.0, references: Tensor | None = None
) -> Callable[..., Tensor]:
    """Mean of (input - reference) x gradient at random points between them (Erion 2021, eq. 4).

    Points, references and noise come from numpy's and torch's global generators and are the same
    for each image. The maps sum to the difference of the outputs only on average over draws.

    Args:
        draws: number of random points per image.
        sigma: standard deviation of Gaussian noise on the input as a share of (largest - smallest
            value) of each image; the paper uses no noise.
        references: inputs (R, *shape) from which references are drawn, or None for the baseline.

    Raises:
        InvalidArgument: ``draws`` is not a positive integer, ``sigma`` is not a finite number >= 0,
            or ``references`` is not such a tensor. When called: the references have another shape
            than the inputs.
    """
    draws = whole("draws", draws)
    sigma = share("sigma", sigma)
    references = reference_set("references", references)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        own = baseline.detach().expand_as(inputs)
        shared = None if references is None else references_like(references, inputs)
        largest = images_per_pass(inputs)

        def one(image: slice) -> Tensor:
            values = inputs[image].detach()
            total = torch.zeros_like(values)
            for start in range(0, draws, largest):
                count = min(largest, draws - start)
                mean: Tensor = captum.GradientShap(model).attribute(
                    values,
                    baselines=own[image] if shared is None else shared,
                    n_samples=count,
                    stdevs=noise_of(values, sigma),
                    target=targets[image],
                )
                total += count * mean
            return total / draws

        return one_by_one(len(inputs), one)

    return explain


def share(name: str, value: object) -> float:
    """Return an option if it is a valid standard deviation, a share of the range of an image.

    Raises:
        InvalidArgument: ``value`` is not a finite number >= 0.
    """
    found = number(name, value)
    if found < 0:
        raise InvalidArgument.of(name, got=repr(value), expected="a share >= 0")
    return found


def noise_of(image: Tensor, sigma: float) -> float:
    """Return sigma times (largest - smallest value) of an image."""
    return sigma * float(image.max() - image.min())


ENTRIES = {
    "captum:GradientShap": Entry(
        factory=gradient_shap,
        method="expected_gradients",
        source="erion2021",
        cost="{draws} forward + {draws} backward",
        claims=claims("erion2021", "dummy_feature", "implementation_invariance", "linearity"),
        stochastic=True,
        needs_baseline=True,
    ),
}
