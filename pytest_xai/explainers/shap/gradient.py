"""GradientExplainer of shap: expected gradients."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from pytest_xai.core.seeds import seeded
from pytest_xai.explainers.adapting.arguments import whole
from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.shap.library import OneOutput, load, own_row

__all__ = ["ENTRIES", "gradient_explainer"]

_SEEDS = 2**31


def gradient_explainer(*, samples: int = 200) -> Callable[..., Tensor]:
    """(Input - baseline) times the mean gradient at random points between them (Erion 2021).

    The background of each image is its row of the baseline. The map is then a Monte Carlo estimate
    of integrated gradients, and values sum to f(x) - f(x') only on average. shap seeds numpy's
    generator itself; the seed is drawn from numpy's global generator, once for all images.

    Args:
        samples: number of random points per image.

    Raises:
        InvalidArgument: ``samples`` is not a positive integer.
    """
    samples = whole("samples", samples)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        shap = load()
        network = OneOutput(model)
        seed = int(np.random.randint(_SEEDS))  # noqa: NPY002  # the one that the gate seeds
        maps = []
        with torch.enable_grad(), _samples_in(inputs.dtype), seeded(seed):
            for index, target in enumerate(targets.tolist()):
                image = slice(index, index + 1)
                network.target = target
                row = own_row(baseline, image)
                explainer = shap.GradientExplainer(
                    network, row.clone(), batch_size=images_per_pass(inputs)
                )
                values = explainer.shap_values(inputs[image].detach(), nsamples=samples, rseed=seed)
                maps.append(torch.as_tensor(values[..., 0]).to(inputs))
        return torch.cat(maps)

    return explain


@contextmanager
def _samples_in(dtype: torch.dtype) -> Iterator[None]:
    """Make shap's random points, which have torch's default dtype, in the dtype of the inputs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


ENTRIES = {
    "shap:GradientExplainer": Entry(
        factory=gradient_explainer,
        method="expected_gradients",
        source="erion2021",
        cost="1 + {samples} forward + {samples} backward",
        claims=claims("erion2021", "dummy_feature", "implementation_invariance", "linearity"),
        needs_baseline=True,
        stochastic=True,
    ),
}
