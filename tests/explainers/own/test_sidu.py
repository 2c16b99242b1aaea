import math

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting import passes
from pytest_xai.explainers.own import sidu

ENTRY = sidu.ENTRIES["xai:SIDU"]
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TARGETS = torch.tensor([1, 2])


class Pooled(nn.Module):
    def __init__(self, dimensions, *, classes=3, inplace=False):
        super().__init__()
        self.convolution = CONVOLUTIONS[dimensions](2, 6, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(6, classes)

    def forward(self, inputs):
        return self.head(self.relu(self.convolution(inputs)).flatten(2).mean(2) * 8)


def case(dimensions=2, **options):
    torch.manual_seed(0)
    model = Pooled(dimensions, **options).double()
    shape = 2, 2, *(8, 6, 4)[:dimensions]
    return model, torch.randn(shape).double(), torch.randn(shape).double()


def resized(values, spatial):
    """Linear interpolation between pixel centres along each axis, the edges continued."""
    for axis, side in enumerate(spatial):
        small = values.shape[axis]
        places = (np.arange(side) + 0.5) * small / side - 0.5
        values = np.apply_along_axis(
            lambda line, places=places: np.interp(places, np.arange(len(line)), line), axis, values
        )
    return values


def softmax(logits):
    powers = [math.exp(logit) for logit in logits.tolist()]
    return [power / sum(powers) for power in powers]


def distance(first, second):
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(first, second, strict=True)))


def brute_force(model, image, reference, *, threshold=0.5, sigma=0.25, activations=None):
    """The formula of the paper, channel by channel in numpy."""
    if activations is None:
        activations = model.convolution(image[None])[0]
    spatial = image.shape[1:]
    masks, seen = [], []
    whole = softmax(model(image[None])[0])
    for channel in activations.detach().numpy():
        mask = torch.from_numpy(resized((channel > threshold).astype(float), spatial))
        masks.append(mask)
        seen.append(softmax(model((image * mask + reference * (1 - mask))[None])[0]))
    total = torch.zeros(spatial).double()
    for own, mask in zip(seen, masks, strict=True):
        similarity = math.exp(-(distance(whole, own) ** 2) / (2 * sigma**2))
        uniqueness = sum(distance(own, other) for other in seen)
        total += similarity * uniqueness * mask
    return total


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"threshold": 0.2, "sigma": 0.1}])
@pytest.mark.parametrize("rows", [1, 2])
def test_brute_force(dimensions, options, rows):
    model, inputs, references = case(dimensions)
    maps = ENTRY.factory(**options)(model, inputs, TARGETS, baseline=references[:rows])
    assert maps.shape == (2, 1, *inputs.shape[2:])
    for image, reference, got in zip(
        inputs, references[:rows].expand_as(inputs), maps, strict=True
    ):
        expected = brute_force(model, image, reference, **options)
        assert expected.max() > 0.01
        assert torch.allclose(got[0], expected, rtol=0, atol=1e-12)


def test_threshold_relative_to_each_channels_largest_activation():
    model, inputs, references = case()
    with torch.no_grad():
        model.convolution.weight *= 0.01
        model.convolution.bias *= 0.01
        # A channel below zero everywhere stays empty.
        model.convolution.bias[2] = -9
    empty = ENTRY.factory()(model, inputs, TARGETS, baseline=references)
    assert torch.equal(empty, torch.zeros_like(empty))
    maps = ENTRY.factory(relative=True)(model, inputs, TARGETS, baseline=references)
    for image, reference, got in zip(inputs, references, maps, strict=True):
        activations = model.convolution(image[None])[0]
        shares = activations / activations.amax((1, 2), keepdim=True)
        shares[activations.amax((1, 2)) <= 0] = 0
        expected = brute_force(model, image, reference, activations=shares)
        assert torch.allclose(got[0], expected, rtol=0, atol=1e-12)
        assert got.max() > 0


def test_equal_masks_are_not_unique():
    model, inputs, references = case()
    with torch.no_grad():
        model.convolution.weight.zero_()
        model.convolution.bias.fill_(1)
    maps = ENTRY.factory()(model, inputs, TARGETS, baseline=references)
    assert torch.equal(maps, torch.zeros_like(maps))


def test_single_output_is_read_as_a_sigmoid():
    class Both(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, inputs):
            outputs = self.model(inputs)
            return torch.cat([outputs, torch.zeros_like(outputs)], 1)

    model, inputs, references = case(classes=1)
    zeros = torch.tensor([0, 0])
    maps = ENTRY.factory(sigma=0.25)(model, inputs, zeros, baseline=references)
    # Two probabilities that sum to one lie apart by the root of 2 times as much.
    factory = ENTRY.factory(sigma=0.25 * math.sqrt(2))
    pairs = factory(Both(model), inputs, zeros, baseline=references)
    assert maps.max() > 0
    assert torch.allclose(maps * math.sqrt(2), pairs, rtol=0, atol=1e-12)


def test_the_target_does_not_matter():
    model, inputs, references = case()
    explain = ENTRY.factory()
    first = explain(model, inputs, TARGETS, baseline=references)
    assert torch.equal(explain(model, inputs, 2 - TARGETS, baseline=references), first)
    assert ENTRY.class_agnostic


@pytest.mark.parametrize("inplace", [False, True])
def test_layer_before_or_after_an_in_place_relu(inplace):
    model, inputs, references = case(inplace=inplace)
    default = ENTRY.factory(threshold=-0.1)(model, inputs, TARGETS, baseline=references)
    named = ENTRY.factory(threshold=-0.1, layer="convolution")
    assert torch.equal(named(model, inputs, TARGETS, baseline=references), default)
    for image, reference, got in zip(inputs, references, default, strict=True):
        expected = brute_force(model, image, reference, threshold=-0.1)
        assert torch.allclose(got[0], expected, rtol=0, atol=1e-12)
    rectified = ENTRY.factory(threshold=-0.1, layer="relu")
    maps = rectified(model, inputs, TARGETS, baseline=references)
    assert not torch.allclose(maps, default)


def test_passes_of_bounded_size_give_the_same_map(monkeypatch):
    model, inputs, references = case()
    sizes = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    whole = ENTRY.factory()(model, inputs, TARGETS, baseline=references)
    assert sizes == [1, 1, 6, 1, 6]
    sizes.clear()
    monkeypatch.setattr(passes, "_VALUES", 4 * inputs[0].numel())
    chunked = ENTRY.factory()(model, inputs, TARGETS, baseline=references)
    assert torch.allclose(chunked, whole, rtol=0, atol=1e-12)
    assert sizes == [1, 1, 4, 2, 1, 4, 2]
    assert ENTRY.cost == "1 forward per call, then 1 forward + 1 for each channel of the layer"


def test_an_image_alone_has_the_same_map():
    model, inputs, references = case()
    together = ENTRY.factory()(model, inputs, TARGETS, baseline=references)
    alone = ENTRY.factory()(model, inputs[1:], TARGETS[1:], baseline=references[1:])
    assert torch.equal(alone, together[1:])
    assert not together.requires_grad


def test_a_planted_patch_is_found():
    class Planted(nn.Module):
        """A channel per quadrant; class 1 is the mean of a patch in the last one."""

        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 4, 1, bias=False)
            nn.init.ones_(self.convolution.weight)
            places = torch.arange(16) >= 8
            rows, columns = places[:, None], places[None, :]
            quadrants = [~rows & ~columns, ~rows & columns, rows & ~columns, rows & columns]
            self.quadrants = torch.stack(quadrants).float()
            self.channels = nn.Identity()

        def forward(self, inputs):
            maps = self.channels(self.convolution(inputs) * self.quadrants)
            mean = maps[:, 3, 10:13, 10:13].mean((1, 2))
            return torch.stack([torch.ones_like(mean), 4 * mean], 1)

    torch.manual_seed(0)
    inputs = torch.rand(2, 1, 16, 16) + 0.6
    explain = ENTRY.factory(layer="channels")
    for got in explain(Planted(), inputs, TARGETS, baseline=torch.zeros(1, 1, 16, 16)):
        assert got[0, 8:, 8:].sum() > 0.99 * got.sum()


@pytest.mark.parametrize("layer", ["missing", "head"])
def test_layers_that_give_no_map(layer):
    model, inputs, references = case()
    with pytest.raises(InvalidArgument, match=f"layer: got '{layer}', expected a layer that"):
        ENTRY.factory(layer=layer)(model, inputs, TARGETS, baseline=references)


def test_a_model_without_convolutions():
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    inputs = torch.rand(1, 1, 4, 4)
    with pytest.raises(NotApplicable, match="executes no convolution"):
        ENTRY.factory()(model, inputs, TARGETS[:1], baseline=inputs)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layer": ""}, "layer: got '', expected a non-empty string"),
        ({"threshold": "0.5"}, "threshold: got '0.5', expected a finite number"),
        (
            {"threshold": 1, "relative": True},
            "threshold: got 1.0, expected a share from 0 to below 1 if relative",
        ),
        ({"relative": 1}, "relative: got 1, expected true or false"),
        ({"sigma": 0}, "sigma: got 0.0, expected a number above 0"),
        ({"sigma": float("inf")}, "sigma: got inf, expected a finite number"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InvalidArgument) as caught:
        ENTRY.factory(**options)
    assert str(caught.value) == message
