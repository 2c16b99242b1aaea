import math

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.own import fem

ENTRY = fem.ENTRIES["xai:FEM"]
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TARGETS = torch.tensor([1, 2])


class Pooled(nn.Module):
    def __init__(self, dimensions, *, inplace=False):
        super().__init__()
        self.convolution = CONVOLUTIONS[dimensions](2, 6, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs):
        return self.head(self.relu(self.convolution(inputs)).flatten(2).mean(2))


def case(dimensions=2, *, inplace=False):
    torch.manual_seed(0)
    model = Pooled(dimensions, inplace=inplace).double()
    return model, torch.randn(2, 2, *(12, 8, 6)[:dimensions]).double()


def resized(values, spatial):
    """Linear interpolation between pixel centres along each axis, the edges continued."""
    for axis, side in enumerate(spatial):
        small = values.shape[axis]
        places = (np.arange(side) + 0.5) * small / side - 0.5
        values = np.apply_along_axis(
            lambda line, places=places: np.interp(places, np.arange(len(line)), line), axis, values
        )
    return values


def formula(activations, spatial, *, deviations=1.0, normalise=True):
    """sum_k mu_k 1[a_k >= mu_k + K sigma_k] of activations (K, *places), place by place."""
    total = np.zeros(activations.shape[1:])
    for channel in activations.detach().numpy():
        mean = sum(channel.flat) / channel.size
        spread = math.sqrt(sum((value - mean) ** 2 for value in channel.flat) / channel.size)
        for place in np.ndindex(channel.shape):
            if channel[place] >= mean + deviations * spread:
                total[place] += mean
    if normalise:
        total = (total - total.min()) / (total.max() - total.min())
    return torch.from_numpy(resized(total, spatial))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("layer", ["convolution", "relu"])
@pytest.mark.parametrize(
    "options", [{}, {"deviations": 0.5}, {"deviations": -0.3, "normalise": False}]
)
def test_the_formula_in_loops(dimensions, layer, options):
    model, inputs = case(dimensions)
    maps = ENTRY.factory(layer=layer, **options)(model, inputs, TARGETS)
    assert maps.shape == (2, 1, *inputs.shape[2:])
    for image, got in zip(inputs, maps, strict=True):
        activations = model.convolution(image[None])[0]
        if layer == "relu":
            activations = activations.relu()
        expected = formula(activations, image.shape[1:], **options)
        assert torch.allclose(got[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("inplace", [False, True])
def test_default_is_the_last_convolution_before_its_relu(inplace):
    model, inputs = case(inplace=inplace)
    maps = ENTRY.factory()(model, inputs, TARGETS)
    for image, got in zip(inputs, maps, strict=True):
        expected = formula(model.convolution(image[None])[0], image.shape[1:])
        assert torch.allclose(got[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equality_with_the_threshold_counts(dtype):
    # Of two values, the larger is the mean plus one deviation; of one value, all are.
    torch.manual_seed(0)
    values = torch.rand(500, 1, 1, dtype=dtype) + torch.rand(500, 3, 1, dtype=dtype)
    pairs = torch.cat([values, values + 0.3], 2)
    means = pairs.mean(2)
    expected = torch.stack([torch.zeros_like(means).sum(1), means.sum(1)], 1)
    assert torch.allclose(fem._summed(pairs, 1.0), expected)
    constant = values.expand(-1, -1, 7)
    expected = values.sum(1).expand(-1, 7)
    assert torch.allclose(fem._summed(constant, 1.0), expected)


def test_constant_maps_give_zeros():
    model, inputs = case()
    with torch.no_grad():
        model.convolution.weight.zero_()
    maps = ENTRY.factory()(model, inputs, TARGETS)
    assert torch.equal(maps, torch.zeros_like(maps))


def test_range_of_the_normalised_map_before_interpolation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.Flatten(), nn.Linear(320, 2))
    maps = ENTRY.factory()(model, torch.randn(2, 1, 8, 8), TARGETS)
    assert torch.equal(maps.amin((1, 2, 3)), torch.zeros(2))
    assert torch.equal(maps.amax((1, 2, 3)), torch.ones(2))


def test_neither_target_nor_head_matters():
    model, inputs = case()
    first = ENTRY.factory()(model, inputs, TARGETS)
    assert torch.equal(ENTRY.factory()(model, inputs, 2 - TARGETS), first)
    nn.init.normal_(model.head.weight)
    assert torch.equal(ENTRY.factory()(model, inputs, TARGETS), first)
    assert ENTRY.class_agnostic


def test_float32():
    model, inputs = case()
    double = ENTRY.factory()(model, inputs, TARGETS)
    single = ENTRY.factory()(model.float(), inputs.float(), TARGETS)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), double, atol=1e-5)


def test_an_image_alone_has_the_same_map():
    model, inputs = case()
    together = ENTRY.factory()(model, inputs, TARGETS)
    assert torch.equal(ENTRY.factory()(model, inputs[1:], TARGETS[1:]), together[1:])
    assert not together.requires_grad


def test_cost():
    model, inputs = case()
    count = []
    model.register_forward_hook(lambda _, __, output: count.append(len(output)))
    ENTRY.factory()(model, inputs, TARGETS)
    assert sum(count) == 1 + len(inputs)
    assert ENTRY.cost == "1 forward per call, then 1 forward"


def test_a_bright_patch_is_found():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.Flatten(), nn.Linear(768, 2))
    nn.init.ones_(model[0].weight)
    inputs = torch.rand(2, 1, 16, 16)
    inputs[:, :, 9:13, 2:6] += 3
    for got in ENTRY.factory()(model, inputs, TARGETS):
        assert got[0, 9:13, 2:6].sum() == got.sum()
        assert got.sum() == 16


@pytest.mark.parametrize("layer", ["missing", "head"])
def test_layers_that_give_no_map(layer):
    model, inputs = case()
    with pytest.raises(InvalidArgument, match=f"layer: got '{layer}', expected a layer that"):
        ENTRY.factory(layer=layer)(model, inputs, TARGETS)


def test_a_model_without_convolutions():
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(NotApplicable, match="executes no convolution"):
        ENTRY.factory()(model, torch.rand(1, 1, 4, 4), TARGETS[:1])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layer": 3}, "layer: got 3, expected a non-empty string"),
        ({"deviations": None}, "deviations: got None, expected a finite number"),
        ({"normalise": "no"}, "normalise: got 'no', expected true or false"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InvalidArgument) as caught:
        ENTRY.factory(**options)
    assert str(caught.value) == message
