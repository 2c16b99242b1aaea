"""The share of an output that constants of the layers make, as relevance conservation uses it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fixtures import models
from fixtures.right import input_x_gradient
from pytest_xai.core.bias_terms import bias_absorption
from pytest_xai.subjects.digits import load_digits_model


class InPlace(nn.Module):
    """A ReLU that overwrites its input, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(5, 5, bias=False)
        self.last = nn.Linear(5, 3)

    def forward(self, inputs):
        hidden = functional.relu_(self.first(inputs))
        hidden = functional.relu(self.second(hidden) + self.second(hidden.flip(1)))
        return self.last(hidden)


def in_place():
    torch.manual_seed(0)
    return InPlace().double().eval()


def one_dimensional_norm():
    torch.manual_seed(0)
    layers = [nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(inplace=True)]
    layers += [nn.Flatten(), nn.Linear(48, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)]
    model = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(2)
    for norm in (model[1], model[5]):
        norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator))
        norm.running_var.copy_(torch.rand(norm.num_features, generator=generator) + 0.5)
        nn.init.normal_(norm.weight, generator=generator)
        nn.init.normal_(norm.bias, generator=generator)
    return model.double().eval()


def residual():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = models.chain(6, 6, 6)
            self.head = nn.Linear(6, 3)

        def forward(self, inputs):
            return self.head(functional.relu(inputs + self.inner(inputs)))

    torch.manual_seed(0)
    return Residual().double().eval()


def volumes():
    torch.manual_seed(0)
    layers = (nn.Conv3d(1, 2, 2), nn.ReLU(), nn.BatchNorm3d(2), nn.MaxPool3d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(2, 3)).double().eval()


def transposed():
    torch.manual_seed(0)
    layers = (nn.ConvTranspose2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(75, 3))
    return nn.Sequential(*layers).double().eval()


def over_time():
    """A linear layer whose features are the last of three axes."""
    torch.manual_seed(0)
    layers = (nn.Linear(5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
    return nn.Sequential(*layers).double().eval()


NETWORKS = {
    "linear": (lambda: models.linear(torch.ones(3, 4).double(), torch.rand(3)), (4,)),
    "chain": (lambda: models.chain(5, 8, 6, 3), (5,)),
    "one logit": (lambda: models.chain(5, 8, 1), (5,)),
    "functional, run twice": (models.functional_net, (1, 6, 6)),
    "shared ReLU": (models.shared_relu, (5,)),
    "in place, called twice": (in_place, (6,)),
    "convolution over time": (models.signal_net, (2, 12)),
    "digits": (lambda: load_digits_model().double(), (1, 8, 8)),
    "batch norms": (models.normed, (2, 6, 5)),
    "batch norms of tables and signals": (one_dimensional_norm, (2, 12)),
    "residual sum": (residual, (6,)),
    "volumes": (volumes, (1, 4, 4, 4)),
    "transposed convolution": (transposed, (1, 4, 4)),
    "linear over the last axis": (over_time, (3, 5)),
}
NORMED = {"batch norms", "batch norms of tables and signals", "volumes"}

every_network = pytest.mark.parametrize("name", NETWORKS)


def asked(name):
    make, shape = NETWORKS[name]
    model = make()
    inputs = torch.randn(6, *shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        targets = torch.arange(6) % model(inputs).shape[1]
    return model, inputs, targets


@every_network
def test_absorption_is_what_the_product_of_input_and_gradient_lacks(name):
    """Euler's identity: f is linear where it is, f = x df/dx + what the constants make of it."""
    model, inputs, targets = asked(name)
    scores = model(inputs).gather(1, targets[:, None]).squeeze(1).detach()
    sums = input_x_gradient(model, inputs, targets).flatten(1).sum(1)
    absorbed = bias_absorption(model, inputs, targets)
    assert absorbed.abs().max() > 1e-3
    assert torch.allclose(absorbed, scores - sums, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - NORMED))
def test_absorption_is_the_sum_over_all_biases_of_b_df_db(name):
    """By autograd on the bias parameters, image by image."""
    model, inputs, targets = asked(name)
    biases = [value for key, value in model.named_parameters() if key.endswith("bias")]
    assert biases
    expected = []
    for image, target in zip(inputs, targets, strict=True):
        slopes = torch.autograd.grad(model(image[None])[0, target], biases)
        expected.append(sum((b * s).sum() for b, s in zip(biases, slopes, strict=True)))
    absorbed = bias_absorption(model, inputs, targets)
    assert torch.allclose(absorbed, torch.stack(expected).detach(), rtol=0, atol=1e-12)


@every_network
def test_absorption_leaves_the_model_as_it_was(name, photograph, changed):
    model, inputs, targets = asked(name)
    before = photograph(model)
    bias_absorption(model, inputs, targets)
    assert changed(before, photograph(model)) == []


def test_a_model_without_constants_absorbs_nothing():
    model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False))
    absorbed = bias_absorption(model, torch.rand(3, 4), torch.tensor([0, 1, 1]))
    assert absorbed.tolist() == [0, 0, 0]
    assert bias_absorption(models.Product(), torch.rand(3, 2), torch.zeros(3).long()).sum() == 0


def test_a_bias_that_the_target_does_not_depend_on_absorbs_nothing():
    weight, bias = torch.eye(3).double(), torch.tensor([1.0, 2.0, 4.0]).double()
    targets = torch.tensor([0, 1, 2, 1])
    absorbed = bias_absorption(models.linear(weight, bias), torch.rand(4, 3).double(), targets)
    assert absorbed.tolist() == [1, 2, 4, 2]
