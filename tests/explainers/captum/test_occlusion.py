import itertools
import math

import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting import passes


class Smooth(nn.Module):
    """Three classes, nonlinear in every feature and in pairs of neighbours."""

    def forward(self, inputs):
        flat = inputs.flatten(1)
        pairs = (flat[:, 1:] * flat[:, :-1]).sum(1)
        return torch.stack([flat.sum(1), pairs + flat.sin().sum(1), (flat**3).sum(1)], 1)


TARGETS = torch.tensor([1, 2])


def inputs_of(*shape):
    torch.manual_seed(0)
    return torch.randn(2, *shape).double(), torch.randn(2, *shape).double()


def brute_force(model, image, reference, target, *, windows, strides):
    """Mean over the windows that cover a place of what the target's output loses in each."""
    spatial = image.shape[1:]
    total, covering = torch.zeros(spatial).double(), torch.zeros(spatial).double()
    starts = [
        range(0, math.ceil((side - window) / stride) * stride + 1, stride)
        for side, window, stride in zip(spatial, windows, strides, strict=True)
    ]
    for corner in itertools.product(*starts):
        place = tuple(slice(s, s + w) for s, w in zip(corner, windows, strict=True))
        occluded = image.clone()
        occluded[(slice(None), *place)] = reference[(slice(None), *place)]
        drop = model(image[None])[0, target] - model(occluded[None])[0, target]
        total[place] += drop
        covering[place] += 1
    return total / covering


@pytest.mark.parametrize(
    "shape, options, windows, strides",
    [
        ((2, 6, 5), {"window": 1}, (1, 1), (1, 1)),
        ((2, 6, 4), {"window": 2}, (2, 2), (2, 2)),
        ((2, 7, 5), {"window": 3}, (3, 3), (3, 3)),
        ((2, 6, 5), {"window": 3, "stride": 1}, (3, 3), (1, 1)),
        ((2, 8, 5), {"window": 3, "stride": 2}, (3, 3), (2, 2)),
        ((1, 16, 24), {}, (2, 3), (2, 3)),
        ((1, 16, 24), {"stride": 1}, (2, 3), (1, 1)),
        ((3, 10), {"window": 4}, (4,), (4,)),
        ((3, 40), {}, (5,), (5,)),
        ((2, 4, 3, 5), {"window": 2}, (2, 2, 2), (2, 2, 2)),
        ((2, 4, 3, 5), {}, (1, 1, 1), (1, 1, 1)),
    ],
)
@pytest.mark.parametrize("rows", [1, 2])
def test_against_brute_force(shape, options, windows, strides, rows):
    inputs, references = inputs_of(*shape)
    references = references[:rows]
    maps = explainers.get("captum:Occlusion", **options).call(
        Smooth(), inputs, TARGETS, baseline=references
    )
    for image, reference, target, got in zip(
        inputs, references.expand_as(inputs), TARGETS, maps, strict=True
    ):
        expected = brute_force(Smooth(), image, reference, target, windows=windows, strides=strides)
        assert torch.allclose(got[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("window, windows", [(None, 1), (1, 1), (3, 3)])
def test_table(window, windows):
    inputs, references = inputs_of(17)
    maps = explainers.get("captum:Occlusion", window=window).call(
        Smooth(), inputs, TARGETS, baseline=references
    )
    assert maps.shape == (2, 17)
    for image, reference, target, got in zip(inputs, references, TARGETS, maps, strict=True):
        expected = brute_force(
            Smooth(), image[None], reference[None], target, windows=(windows,), strides=(windows,)
        )
        assert torch.allclose(got, expected, rtol=0, atol=1e-12)


def test_per_channel():
    inputs, references = inputs_of(3, 6, 4)
    maps = explainers.get("captum:Occlusion", window=2, per_channel=True).call(
        Smooth(), inputs, TARGETS, baseline=references
    )
    assert maps.shape == inputs.shape
    for channel in range(3):
        others = inputs.clone()
        others[:, channel] = references[:, channel]
        for row, target in enumerate(TARGETS):
            # Occluding everything but this channel's windows leaves the brute force one channel.
            expected = brute_force(
                Smooth(), inputs[row], others[row], target, windows=(2, 2), strides=(2, 2)
            )
            assert torch.allclose(maps[row, channel], expected, rtol=0, atol=1e-12)


def test_additive_function_at_single_pixels_sums_to_the_difference():
    inputs, references = inputs_of(2, 5, 4)
    maps = explainers.get("captum:Occlusion").call(
        Smooth(), inputs, torch.tensor([2, 2]), baseline=references
    )
    expected = (inputs**3 - references**3).sum(1, keepdim=True)
    assert torch.allclose(maps, expected, atol=1e-12)


def test_passes_of_bounded_size(monkeypatch):
    inputs, references = inputs_of(2, 6, 4)
    sizes = []
    model = Smooth()
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    explain = explainers.get("captum:Occlusion").call
    whole = explain(model, inputs, TARGETS, baseline=references)
    assert sizes == [2, 48]
    sizes.clear()
    monkeypatch.setattr(passes, "_VALUES", 11 * 48)
    assert torch.allclose(explain(model, inputs, TARGETS, baseline=references), whole)
    assert sizes == [2, 10, 10, 10, 10, 8]
    sizes.clear()
    monkeypatch.setattr(passes, "_VALUES", 48)
    assert torch.allclose(explain(model, inputs, TARGETS, baseline=references), whole)
    assert sizes == [2] * 25


def test_a_model_that_writes_on_its_input_does_not_reach_the_callers():
    class Centring(Smooth):
        def forward(self, inputs):
            return super().forward(inputs.sub_(0.5))

    inputs, references = inputs_of(1, 3, 3)
    original = inputs.clone()
    explainers.get("captum:Occlusion").call(Centring(), inputs, TARGETS, baseline=references)
    assert torch.equal(inputs, original)


def test_window_larger_than_the_input():
    inputs, references = inputs_of(1, 6, 4)
    with pytest.raises(InvalidArgument, match=r"window: got 5, expected at most the smallest side"):
        explainers.get("captum:Occlusion", window=5).call(
            Smooth(), inputs, TARGETS, baseline=references
        )


def test_stride_larger_than_the_default_window():
    inputs, references = inputs_of(1, 16, 8)
    with pytest.raises(
        InvalidArgument, match=r"stride: got 2, expected at most the window's side, 1"
    ):
        explainers.get("captum:Occlusion", stride=2).call(
            Smooth(), inputs, TARGETS, baseline=references
        )
