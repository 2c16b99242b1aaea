import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting import passes
from pytest_xai.explainers.own import masking, rise

ENTRY = rise.ENTRIES["xai:RISE"]
TARGETS = torch.tensor([1, 2])
SHAPES = {"table": (5,), "signal": (2, 9), "image": (2, 8, 5), "volume": (2, 4, 5, 3)}


class Smooth(nn.Module):
    """Three classes, nonlinear in every feature and in pairs of neighbours."""

    def forward(self, inputs):
        flat = inputs.flatten(1)
        pairs = (flat[:, 1:] * flat[:, :-1]).sum(1)
        return torch.stack([flat.sum(1), pairs + flat.sin().sum(1), (flat**3).sum(1)], 1)


def case(shape):
    torch.manual_seed(0)
    return torch.randn(2, *shape).double(), torch.randn(2, *shape).double()


def linear_case(shape):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 3)).double()
    return model, *case(shape)


def per_place(values, shape):
    """Sums over channels, one value per place; features are their own places."""
    values = values.view(shape)
    return values if len(shape) == 1 else values.sum(0)


def closed_form(model, image, reference, target, probability):
    """b + sum w x' + p sum_j v_j + (1 - p) v_i with v = w (x - x'): masks of single places."""
    weight = model[1].weight[target].view(image.shape)
    constant = model[1].bias[target] + (weight * reference).sum()
    gains = per_place(weight * (image - reference), image.shape)
    return (constant + probability * gains.sum() + (1 - probability) * gains).detach()


def every_mask(inputs):
    """All binary masks of the inputs' places, (2 ** places, 1, *spatial) or (.., features)."""
    spatial = inputs.shape[2:] or inputs.shape[1:]
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=math.prod(spatial))))
    shape = (len(masks), *([1] if inputs.ndim > 2 else []), *spatial)
    return masks.view(shape).to(inputs)


@pytest.mark.parametrize("shape", [(7,), (2, 6), (2, 2, 4), (1, 3, 3), (2, 2, 2, 2)])
def test_all_binary_masks_of_a_linear_model_give_the_closed_form(monkeypatch, shape):
    model, inputs, references = linear_case(shape)
    every = every_mask(inputs)
    monkeypatch.setattr(rise, "_chunks", lambda *_: every.split(37))
    explain = ENTRY.factory(masks=len(every), cells=9)
    maps = explain(model, inputs, TARGETS, baseline=references)
    for row, target in enumerate(TARGETS):
        expected = closed_form(model, inputs[row], references[row], target, 0.5)
        assert torch.allclose(maps[row].squeeze(), expected.squeeze(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(5,), (2, 6), (2, 3, 2), (2, 2, 3, 2)])
@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_expectation_of_a_linear_model_lies_in_the_confidence_interval(shape, probability):
    model, inputs, references = linear_case(shape)
    explain = ENTRY.factory(masks=200, cells=99, probability=probability)
    torch.manual_seed(7)
    runs = torch.stack(
        [explain(model, inputs, TARGETS, baseline=references) for _ in range(100)]
    ).flatten(2)
    mean, error = runs.mean(0), runs.std(0) / 10
    for row, target in enumerate(TARGETS):
        expected = closed_form(model, inputs[row], references[row], target, probability)
        # Five standard errors: one in 1.7 million values of a right estimate lies beyond.
        assert ((mean[row] - expected.flatten()).abs() < 5 * error[row]).all()
        assert error[row].max() < 0.02


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("output", ["logit", "probability"])
@pytest.mark.parametrize("rows", [1, 2])
def test_brute_force_with_the_same_masks(kind, output, rows):
    inputs, references = case(SHAPES[kind])
    explain = ENTRY.factory(masks=11, cells=2, probability=0.3, output=output)
    torch.manual_seed(5)
    maps = explain(Smooth(), inputs, TARGETS, baseline=references[:rows])
    torch.manual_seed(5)
    (masks,) = rise._chunks(inputs, 11, 2, 0.3)
    assert maps.shape == (2, *masks.shape[1:])
    for row, target in enumerate(TARGETS):
        reference = references[:rows].expand_as(inputs)[row]
        total = torch.zeros_like(masks[0])
        for mask in masks:
            scores = Smooth()((inputs[row] * mask + reference * (1 - mask))[None])[0]
            scores = scores if output == "logit" else scores.softmax(0)
            total += scores[target] * mask
        assert torch.allclose(maps[row], total / (11 * 0.3), rtol=0, atol=1e-12)


def test_probability_of_a_single_output_is_its_sigmoid():
    class Single(nn.Module):
        def forward(self, inputs):
            return inputs.flatten(1).sum(1, keepdim=True)

    inputs, references = case((1, 4, 4))
    explain = ENTRY.factory(masks=6, cells=2, output="probability")
    zeros = torch.tensor([0, 0])
    torch.manual_seed(5)
    maps = explain(Single(), inputs, zeros, baseline=references)
    torch.manual_seed(5)
    sigmoid = nn.Sequential(Single(), nn.Sigmoid())
    expected = ENTRY.factory(masks=6, cells=2)(sigmoid, inputs, zeros, baseline=references)
    assert torch.equal(maps, expected)


@pytest.mark.parametrize(
    "spatial, cells",
    [((12,), (3,)), ((13,), (7,)), ((8, 12), (7, 3)), ((5, 9), (5, 2)), ((6, 4, 9), (2, 4, 4))],
)
def test_masks_are_cut_from_a_grid_interpolated_to_one_cell_more(spatial, cells):
    torch.manual_seed(0)
    sides = [math.ceil(side / cell) for side, cell in zip(spatial, cells, strict=True)]
    grids = torch.rand(9, 2, *cells).double()
    shifts = masking.random_shifts(9, cells, spatial)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(spatial)]
    # A side with as many cells as places is left alone.
    sizes = [
        cell if cell == side else (cell + 1) * width
        for cell, side, width in zip(cells, spatial, sides, strict=True)
    ]
    masks = masking.stretched(grids, spatial, shifts)
    assert masks.shape == (9, 2, *spatial)
    for grid, shift, mask in zip(grids, shifts, masks, strict=True):
        large = functional.interpolate(grid[None], tuple(sizes), mode=mode, align_corners=False)[0]
        for axis, side in enumerate(spatial):
            large = large.narrow(axis + 1, int(shift[axis]), side)
        assert torch.allclose(mask, large, rtol=0, atol=1e-12)


def test_shifts_are_uniform_over_a_cell():
    torch.manual_seed(0)
    shifts = masking.random_shifts(4000, (7, 2, 5), (8, 12, 5))
    for axis, side in enumerate((2, 6, 1)):
        counts = torch.bincount(shifts[:, axis], minlength=side)
        assert len(counts) == side
        assert (counts / 4000 - 1 / side).abs().max() < 0.03


@pytest.mark.parametrize("kind", SHAPES)
def test_every_place_is_shown_with_the_given_probability(kind):
    inputs, _ = case(SHAPES[kind])
    torch.manual_seed(0)
    masks = torch.cat(list(rise._chunks(inputs, 4000, 3, 0.3)))
    assert len(masks) == 4000
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert (masks.mean(0) - 0.3).abs().max() < 0.04


@pytest.mark.parametrize("kind", SHAPES)
def test_passes_of_bounded_size_give_the_same_map(monkeypatch, kind):
    inputs, references = case(SHAPES[kind])
    model, sizes = Smooth(), []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    explain = ENTRY.factory(masks=23, cells=3)
    torch.manual_seed(0)
    whole = explain(model, inputs, TARGETS, baseline=references)
    assert sizes == [23, 23]
    sizes.clear()
    monkeypatch.setattr(passes, "_VALUES", 5 * inputs[0].numel())
    torch.manual_seed(0)
    chunked = explain(model, inputs, TARGETS, baseline=references)
    assert torch.allclose(chunked, whole, rtol=0, atol=1e-12)
    assert sizes == [5] * 8 + [3, 3]


def test_float32_sees_the_same_masks():
    inputs, references = case((1, 8, 8))
    explain = ENTRY.factory(masks=50)
    torch.manual_seed(0)
    double = explain(Smooth(), inputs, TARGETS, baseline=references)
    torch.manual_seed(0)
    single = explain(Smooth(), inputs.float(), TARGETS, baseline=references.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), double, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", SHAPES)
def test_an_image_alone_has_the_same_map(kind):
    inputs, references = case(SHAPES[kind])
    explain = ENTRY.factory(masks=30)
    torch.manual_seed(0)
    together = explain(Smooth(), inputs, TARGETS, baseline=references)
    torch.manual_seed(0)
    alone = explain(Smooth(), inputs[1:], TARGETS[1:], baseline=references[1:])
    assert torch.equal(alone, together[1:])


@pytest.mark.parametrize(
    "shape, patch",
    [
        ((1, 16, 16), (slice(9, 13), slice(2, 6))),
        ((2, 32), (slice(20, 26),)),
        ((1, 8, 8, 8), (slice(4, 7), slice(1, 4), slice(3, 6))),
        ((12,), (slice(4, 6),)),
    ],
)
def test_a_planted_patch_is_found(shape, patch):
    class Planted(nn.Module):
        """Class 1 is the mean of a patch, class 0 sees nothing."""

        def forward(self, inputs):
            places = inputs if inputs.ndim == 2 else inputs.mean(1)
            mean = places[(slice(None), *patch)].flatten(1).mean(1)
            return torch.stack([torch.zeros_like(mean), mean], 1)

    torch.manual_seed(0)
    inputs = torch.rand(2, *shape) + 0.5
    explain = ENTRY.factory(masks=3000)
    maps = explain(Planted(), inputs, torch.tensor([1, 1]), baseline=torch.zeros(1, *shape))
    places = maps if len(shape) == 1 else maps[:, 0]
    inside = torch.zeros_like(places, dtype=torch.bool)
    inside[(slice(None), *patch)] = True
    for scores, truth in zip(places, inside, strict=True):
        assert truth.flatten()[scores.argmax()]
        assert scores[truth].mean() > scores[~truth].mean() + 3 * scores[~truth].std()


def test_cost_and_traits():
    inputs, references = case((1, 4, 4))
    model, count = Smooth(), []
    model.register_forward_hook(lambda _, __, output: count.append(len(output)))
    traits = ENTRY.traits({"masks": 13}, library="own")
    ENTRY.factory(masks=13)(model, inputs, TARGETS, baseline=references)
    assert traits.cost == "13 forward"
    assert sum(count) == 13 * len(inputs)
    assert traits.stochastic
    assert traits.needs_baseline
    assert traits.claims == {
        "implementation_invariance",
        "linearity",
        "positive_homogeneity",
        "shift_invariance",
    }
    probability = ENTRY.traits({"output": "probability"}, library="own")
    assert probability.claims == {"implementation_invariance", "shift_invariance"}


def test_a_model_that_writes_on_its_input_does_not_reach_the_callers():
    class Centring(Smooth):
        def forward(self, inputs):
            return super().forward(inputs.sub_(0.5))

    inputs, references = case((1, 3, 3))
    before = inputs.clone(), references.clone()
    ENTRY.factory(masks=4)(Centring(), inputs, TARGETS, baseline=references)
    assert torch.equal(inputs, before[0])
    assert torch.equal(references, before[1])


def test_parameters_with_gradients_leave_no_graph():
    model, inputs, references = linear_case((1, 4, 4))
    maps = ENTRY.factory(masks=4)(model, inputs, TARGETS, baseline=references)
    assert not maps.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"masks": 0}, "masks: got 0, expected an integer >= 1"),
        ({"masks": 10.0}, "masks: got 10.0, expected an integer >= 1"),
        ({"cells": 0}, "cells: got 0, expected an integer >= 1"),
        ({"probability": 0}, "probability: got 0.0, expected a number above 0 and below 1"),
        ({"probability": 1}, "probability: got 1.0, expected a number above 0 and below 1"),
        ({"probability": "half"}, "probability: got 'half', expected a finite number"),
        ({"output": "softmax"}, "output: got 'softmax', expected one of logit, probability"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InvalidArgument) as caught:
        ENTRY.factory(**options)
    assert str(caught.value) == message
