"""Networks with a property that holds whatever the model is."""

import pytest
import torch
from torch import nn

from fixtures import models
from pytest_xai.perturbations.constrained_networks import (
    averaged,
    circular,
    ends_weighted,
    half_averaged,
    mirror_averaged,
    mirrored,
    shifted,
    unbiased,
)


@pytest.fixture
def inputs():
    return torch.randn(5, 2, 6, 4, generator=torch.Generator().manual_seed(1)).double()


@pytest.fixture
def model():
    return models.normed()


def test_a_mean_over_two_orders(inputs):
    order = [2, 3, 4, 5, 0, 1]
    made = averaged(inputs, 2, order)
    expected = torch.stack([inputs, inputs[:, :, order]]).mean(0)
    assert torch.equal(made, expected)
    assert torch.equal(averaged(made, 2, [0, 1, 2, 3, 4, 5]), made)


def test_a_mirrored_network_sees_mirror_images_alike(inputs, model):
    network = mirrored(model)
    assert torch.equal(network(inputs), network(inputs.flip(3)))
    assert torch.equal(network(inputs), model((inputs + inputs.flip(3)) / 2))
    assert not torch.allclose(network(inputs), network(inputs.flip(2)))
    table = torch.arange(6.0)[None]
    assert torch.equal(mirror_averaged(table), torch.full((1, 6), 2.5))


@pytest.mark.parametrize("dim, side", [(2, 6), (3, 4)])
def test_a_half_averaged_network_sees_halves_alike(dim, side, inputs, model):
    network = half_averaged(model, dim=dim, side=side)
    rolled = inputs.roll(side // 2, dim)
    assert torch.equal(network(inputs), network(rolled))
    assert torch.equal(network(inputs), model((inputs + rolled) / 2))
    assert not torch.allclose(network(inputs), network(inputs.roll(1, dim)))


def test_a_shifted_network_expects_the_constant(inputs, model):
    assert torch.allclose(shifted(model, by=2.0)(inputs + 2), model(inputs), rtol=1e-12)


def test_without_biases_nothing_is_added(inputs, model):
    weights = {name: value.clone() for name, value in model.named_parameters()}
    made = unbiased(model)
    assert made is model
    assert (model(0 * inputs) == 0).all()
    assert torch.equal(model(4 * inputs), 4 * model(inputs))
    assert model(inputs).abs().max() > 0
    for name, value in model.named_parameters():
        assert torch.equal(value, 0 * value if "bias" in name else weights[name])
        assert value.requires_grad
    assert (model.norm1.running_mean == 0).all()
    assert (model.norm1.running_var != 0).all()


def test_projections_of_attention_have_biases_of_other_names():
    model = nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True)
    with torch.no_grad():
        model.in_proj_bias.fill_(1)
        model.bias_k.fill_(1)
    unbiased(model)
    assert (model.in_proj_bias == 0).all()
    assert (model.bias_k == 0).all()
    assert (model.in_proj_weight != 0).any()


@pytest.mark.parametrize(
    "layer, changed",
    [
        (nn.Conv2d(2, 3, 3, padding=1), 1),
        (nn.Conv2d(2, 3, (3, 5), padding=(0, 2)), 1),
        (nn.Conv2d(2, 3, 3, padding="same"), 1),
        (nn.Conv2d(2, 3, 3), 0),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), 0),
        (nn.ConvTranspose2d(2, 3, 3, padding=1), 0),
        (nn.MaxPool2d(3, padding=1), 0),
    ],
)
def test_padded_convolutions_become_circular(layer, changed, inputs):
    model = nn.Sequential(layer).double()
    before = model(inputs)
    assert circular(model) == changed
    after = model(inputs)
    assert after.shape == before.shape
    assert torch.equal(after, before) == (not changed)
    if changed:
        whole = after.shape[2:] == inputs.shape[2:]
        assert torch.allclose(model(inputs.roll(2, 3)), after.roll(2, 3)) or not whole


def test_the_ends_are_added_beside_the_model(inputs, model):
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, -5.0]]).double()
    state = torch.get_rng_state()
    network = ends_weighted(model, weight)
    assert torch.equal(torch.get_rng_state(), state)
    rows = inputs.flatten(1)
    expected = model(inputs) + rows[:, [0, -1]] @ weight.T
    assert torch.allclose(network(inputs), expected, rtol=1e-12)
    assert not network.beside.training
    assert network.get_submodule("conv2") is model.conv2
    assert all(not value.requires_grad for value in network.beside.parameters())
