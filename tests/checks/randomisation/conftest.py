"""Recomputing by brute force what the checks of this family find."""

import copy

import pytest
import torch
from scipy.stats import spearmanr

from pytest_xai.core.seeds import derive_seed
from pytest_xai.perturbations.reinitialisation import randomise_layer


def correlations(ones, others):
    """Sizes of the rank correlations by SciPy of the sums over channels, image by image."""
    flat = [maps.double().sum(1).flatten(1) if maps.ndim > 2 else maps for maps in (ones, others)]
    return torch.tensor(
        [abs(spearmanr(a, b).statistic) for a, b in zip(*flat, strict=True)], dtype=torch.float64
    )


def reinitialised(bench, names, *, draw=0):
    """A new copy of the model with these layers re-initialised, for the bench's group of images."""
    model = copy.deepcopy(bench.subject.model)
    seed = bench.derive_seed("weights", bench.images[0], draw)
    for name in names:
        randomise_layer(model.get_submodule(name), seed=derive_seed(seed, name))
    return model


def halves(bench):
    """The two groups of 16 images that have a draw each."""
    return [bench.view(0, 16), bench.view(16, 32)]


@pytest.fixture
def by_hand():
    return correlations, reinitialised, halves
