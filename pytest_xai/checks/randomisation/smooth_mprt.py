"""Checks that maps averaged over noisy inputs change when weights are re-initialised."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.checks.randomisation._engine import randomised
from pytest_xai.core.finding import Finding
from pytest_xai.core.seeds import generator
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# The authors take 50. With 10 the noise of the mean is already a third of that of one map.
_SAMPLES = 10
# Standard deviation of the noise, as a share of the image's range.
_NOISE = 0.1


@check(
    family="randomisation",
    question="Does the map depend on the weights, apart from the noise of single maps?",
    claim="Re-initialising the layers one after the other, from the input up, changes maps that "
    "are averaged over noisy inputs by more than half as much as changing the image does.",
    source="hedstrom2023",
    scope="claimed",
    judged="mean",
    figure="absolute rank correlation of averaged maps before and after re-initialisation",
    limit_source="Halfway between 1 (identical maps) and the absolute rank correlation with the "
    "averaged map of another image.",
    cost=Cost(explainer_calls=_SAMPLES, per_layer=_SAMPLES),
    marks=("slow",),
)
def smooth_mprt(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: absolute rank correlation of averaged maps, before and after.

    As in mprt_bottom_up, but each map is the mean over 10 inputs with normal noise of a tenth of
    the image's range, the same for every model. Differences are then due to the model, and not
    to the noise of shattered gradients.
    """
    ends = ("after re-initialising the first layer", "after re-initialising all layers")
    return randomised(bench, explainer, "bottom_up", ends=ends, explain=_averaged)


def _averaged(bench: Bench, explainer: NamedExplainer, on: Guard | None) -> Tensor:
    noise = torch.stack([_noise(bench, image) for image in bench.images], 1).to(bench.inputs)
    low, high = bench.inputs.flatten(1).aminmax(dim=1)
    scale = (_NOISE * (high - low)).reshape(-1, *[1] * (bench.inputs.ndim - 1))
    maps = [
        bench.explain(explainer, bench.inputs + scale * sample, draw=draw, on=on).double()
        for draw, sample in enumerate(noise)
    ]
    return torch.stack(maps).mean(0)


def _noise(bench: Bench, image: int) -> Tensor:
    """Return the image's own noise, (samples, *shape), independent of its group."""
    source = generator(bench.derive_seed("smooth", image))
    return torch.randn(_SAMPLES, *bench.inputs.shape[1:], generator=source)
