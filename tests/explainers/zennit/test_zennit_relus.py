"""Guided backpropagation and deconvolution of zennit against their closed forms."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.zennit import ENTRIES

RULES = ["zennit:GuidedBackprop", "zennit:Deconvnet"]


def explain(name, model, inputs, targets):
    return ENTRIES[name].factory()(model, inputs, targets)


def layers(*sizes, seed=0):
    torch.manual_seed(seed)
    return [nn.Linear(*pair).double() for pair in itertools.pairwise(sizes)]


def through(name, signal, z):
    """What a ReLU sends down: rectified, and masked by the forward pass where it is guided."""
    signal = signal.clamp(min=0)
    return signal * (z > 0) if name == "zennit:GuidedBackprop" else signal


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("inplace", [False, True])
def test_two_hidden_layers_in_closed_form(name, inplace):
    one, two, three = layers(5, 6, 4, 3)
    relu = nn.ReLU(inplace=inplace)  # one module, which runs twice
    model = nn.Sequential(one, relu, two, relu, three)
    inputs, targets = torch.randn(7, 5).double(), torch.arange(7) % 3
    below = one(inputs)
    above = two(below.relu())
    signal = through(name, three.weight[targets], above) @ two.weight
    expected = through(name, signal, below) @ one.weight
    found = explain(name, model, inputs, targets)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", RULES)
def test_a_residual_block_before_whose_relu_the_sum_branches_off(name):
    """z + W relu(z): the library that sets tensor hooks is off by 91% here."""
    one, two, three = layers(5, 4, 4, 3)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three, self.relu = one, two, three, nn.ReLU()

        def forward(self, values):
            hidden = self.one(values)
            return self.three(hidden + self.two(self.relu(hidden)))

    inputs, targets = torch.randn(6, 5).double(), torch.arange(6) % 3
    signal = three.weight[targets]
    expected = (signal + through(name, signal @ two.weight, one(inputs))) @ one.weight
    found = explain(name, Block(), inputs, targets)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", RULES)
def test_a_relu_in_place_is_seen_by_all_who_read_its_input(name):
    one, two, three = layers(5, 4, 4, 3)

    class Block(nn.Module):
        def __init__(self, *, inplace):
            super().__init__()
            self.one, self.two, self.three = one, two, three
            self.relu = nn.ReLU(inplace=inplace)

        def forward(self, values):
            hidden = self.one(values)
            rectified = self.relu(hidden)
            hidden = hidden if self.relu.inplace else rectified
            return self.three(hidden + self.two(rectified))

    inputs, targets = torch.randn(6, 5).double(), torch.arange(6) % 3
    found = explain(name, Block(inplace=True), inputs, targets)
    expected = explain(name, Block(inplace=False), inputs, targets)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_guided_backpropagation_and_deconvolution_differ():
    one, two = layers(5, 6, 3)
    model = nn.Sequential(one, nn.ReLU(), two)
    inputs, targets = torch.randn(7, 5).double(), torch.arange(7) % 3
    maps = [explain(name, model, inputs, targets) for name in RULES]
    assert (maps[0] - maps[1]).abs().max() > 0.01


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "function",
    [functional.relu, torch.relu, lambda x: x.relu(), lambda x: functional.relu(x, inplace=True)],
    ids=["F.relu", "torch.relu", "x.relu", "F.relu inplace"],
)
def test_a_functional_relu_is_refused(name, function):
    one, two = layers(5, 6, 3)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.relu = one, two, nn.ReLU()

        def forward(self, values):
            return self.two(function(self.relu(self.one(values)) - 0.1))

    model = Net()
    with pytest.raises(InvalidArgument) as caught:
        explain(name, model, torch.randn(2, 5).double(), torch.tensor([0, 1]))
    text = str(caught.value)
    assert "model: got calls of relu" in text
    assert f"outside the modules whose gradient {name.partition(':')[2]} replaces" in text
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
