"""What tests of attacks on maps have in common."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models


@pytest.fixture
def tiny():
    """Twelve images of 2 x 2 and a network of bends, small enough to try all perturbations."""
    model = nn.Sequential(nn.Flatten(), *models.chain(4, 16, 3, seed=3)).eval()
    inputs = torch.rand(12, 1, 2, 2, generator=torch.Generator().manual_seed(5)).double()
    return xai.Subject(model, inputs, bounds=(0, 1), name="tiny")


@pytest.fixture
def bench_of():
    """Benches that are closed at the end."""
    made = []

    def make(subject, images=None):
        bench = xai.Bench(subject)
        made.append(bench)
        return bench if images is None else bench.view(0, images)

    yield make
    for bench in made:
        bench.close()
