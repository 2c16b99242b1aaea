"""Subjects on which the checks on perturbed copies have closed forms."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import input_x_gradient


@pytest.fixture(scope="module")
def proportional():
    """A linear model of three classes: no input and no product with a weight is nearly nothing.

    Inputs lie between 0.3 and 0.9 of bounds from 0 to 1, weights between 0.5 and 1 in size, so
    that no value is below a tenth of the largest; the margins are wide.
    """
    generator = torch.Generator().manual_seed(5)
    sizes = 0.5 + 0.5 * torch.rand(3, 12, generator=generator, dtype=torch.float64)
    signs = 1 - 2 * torch.randint(2, (3, 12), generator=generator).double()
    inputs = 0.3 + 0.6 * torch.rand(32, 12, generator=generator, dtype=torch.float64)
    model = models.linear(sizes * signs)
    return xai.Subject(model, inputs, torch.arange(32) % 3, bounds=(0, 1), name="proportional")


class Stacked(nn.Module):
    """A layer that hands its input on, and the layer behind it."""

    def __init__(self, weight):
        super().__init__()
        self.first = models.linear(torch.eye(weight.shape[1], dtype=weight.dtype))
        self.head = models.linear(weight)

    def forward(self, inputs):
        return self.head(self.first(inputs))


@pytest.fixture(scope="module")
def stacked(proportional):
    """The same function, with a representation: the input itself."""
    (weight,) = (each for each in proportional.model.parameters() if each.ndim == 2)
    model = Stacked(weight.detach()).eval()
    targets = proportional.targets
    return xai.Subject(model, proportional.inputs, targets, bounds=(0, 1), name="stacked")


class TwoWays(nn.Module):
    """Half of the input through one hidden unit, the other half around it: 16 classes."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        drawn = torch.randn(16, 40, generator=generator, dtype=torch.float64)
        self.around = models.linear(drawn)
        self.hidden = models.linear(torch.ones(1, 40, dtype=torch.float64))
        self.head = models.linear(0.1 * drawn[:, :1])

    def forward(self, inputs):
        return self.around(inputs[:, :40]) + self.head(self.hidden(inputs[:, 40:]))


@pytest.fixture(scope="module")
def two_ways():
    """A model whose representation sees half of the input, its outputs the whole."""
    generator = torch.Generator().manual_seed(8)
    inputs = torch.rand(64, 80, generator=generator, dtype=torch.float64)
    return xai.Subject(TwoWays().eval(), inputs, bounds=(0, 1), name="two ways")


@pytest.fixture
def near_the_border():
    """A linear model of two classes whose margin is what many copies change it by."""
    weight = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(20)
    generator = torch.Generator().manual_seed(2)
    inputs = 0.3 + 0.4 * torch.rand(32, 40, generator=generator, dtype=torch.float64)
    inputs += ((0.01 - inputs @ weight) / 40)[:, None] * weight
    return xai.Subject(models.linear(torch.stack([weight, -weight])), inputs, bounds=(0, 1))


@pytest.fixture(scope="module")
def wild_beyond():
    """The input times the gradient, a hundredfold where another class is predicted."""

    def explain(model, inputs, targets):
        with torch.no_grad():
            flipped = model(inputs).argmax(1) != targets
        factor = torch.where(flipped, 100.0, 1.0)
        return input_x_gradient(model, inputs, targets) * factor[:, None]

    return explain


@pytest.fixture
def bench_of():
    benches = []

    def make(subject, **options):
        benches.append(xai.Bench(subject, **options))
        return benches[-1].view(0, 32)

    yield make
    for bench in benches:
        bench.close()
