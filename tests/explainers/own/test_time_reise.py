import itertools

import pytest
import torch
from torch import nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting import passes
from pytest_xai.explainers.own import time_reise

ENTRY = time_reise.ENTRIES["xai:TimeREISE"]
TARGETS = torch.tensor([1, 2])


class Smooth(nn.Module):
    """Three classes, nonlinear in every step and in pairs of neighbours."""

    def forward(self, inputs):
        flat = inputs.flatten(1)
        pairs = (flat[:, 1:] * flat[:, :-1]).sum(1)
        return torch.stack([flat.sum(1), pairs + flat.sin().sum(1), (flat**3).sum(1)], 1)


def case(channels=3, steps=20):
    torch.manual_seed(0)
    shape = 2, channels, steps
    return torch.randn(shape).double(), torch.randn(shape).double()


def raw(signal, reference, target, masks, *, output):
    """The mean score over the masks that show a step, loop by loop."""
    total, shown = torch.zeros_like(signal), torch.zeros_like(signal)
    for mask in masks:
        scores = Smooth()((signal * mask + reference * (1 - mask))[None])[0]
        scores = scores if output == "logit" else scores.softmax(0)
        total += scores[target] * mask
        shown += mask
    return total / shown


@pytest.mark.parametrize("output", ["logit", "probability"])
@pytest.mark.parametrize("rows", [1, 2])
def test_brute_force_with_the_same_masks(output, rows):
    inputs, references = case()
    options = {"densities": [0.3, 0.6], "granularities": [0.2, 0.5]}
    explain = ENTRY.factory(masks=37, output=output, **options)
    torch.manual_seed(5)
    maps = explain(Smooth(), inputs, TARGETS, baseline=references[:rows])
    torch.manual_seed(5)
    pairs = list(itertools.product([0.3, 0.6], [0.2, 0.5]))
    masks = torch.cat(list(time_reise._chunks(inputs, 37, pairs)))
    assert masks.shape == (37, 3, 20)
    for row, target in enumerate(TARGETS):
        reference = references[:rows].expand_as(inputs)[row]
        scores = raw(inputs[row], reference, target, masks, output=output)
        expected = (scores - scores.min()) / (scores.max() - scores.min())
        assert torch.allclose(maps[row], expected, rtol=0, atol=1e-12)


def binary_masks(monkeypatch, masks):
    monkeypatch.setattr(time_reise, "_chunks", lambda *_: masks.split(3))
    return ENTRY.factory(masks=len(masks), densities=[0.5], granularities=[0.5])


def test_all_binary_masks_of_a_linear_model_give_its_gains(monkeypatch):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 3)).double()
    inputs, references = case(2, 4)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8))).double().view(-1, 2, 4)
    maps = binary_masks(monkeypatch, every)(model, inputs, TARGETS, baseline=references)
    # The mean over the masks that show i is a constant plus half of i's own gain.
    gains = (inputs - references) * model[1].weight[TARGETS].view(2, 2, 4)
    low, high = gains.amin((1, 2), keepdim=True), gains.amax((1, 2), keepdim=True)
    assert torch.allclose(maps, ((gains - low) / (high - low)).detach(), rtol=0, atol=1e-12)


def test_a_step_that_no_mask_shows_gets_the_mean_output(monkeypatch):
    inputs, references = case(1, 3)
    masks = torch.tensor([[[1.0, 0, 0]], [[0, 0, 1]], [[1, 0, 1]], [[0, 0, 0]]]).double()
    maps = binary_masks(monkeypatch, masks)(Smooth(), inputs, TARGETS, baseline=references)
    for row, target in enumerate(TARGETS):
        shown = inputs[row] * masks + references[row] * (1 - masks)
        scores = Smooth()(shown)[:, target]
        steps = torch.stack([scores[[0, 2]].mean(), scores.mean(), scores[[1, 2]].mean()])
        expected = (steps - steps.min()) / (steps.max() - steps.min())
        assert torch.allclose(maps[row, 0], expected, rtol=0, atol=1e-12)


def test_constant_scores_give_zeros():
    class Constant(nn.Module):
        def forward(self, inputs):
            return torch.ones(len(inputs), 3).to(inputs) / 4

    inputs, references = case()
    # Sums of a power of two are exact in whatever order, if all masks are 0 or 1.
    explain = ENTRY.factory(masks=16, densities=[0.5], granularities=[0.001])
    maps = explain(Constant(), inputs, TARGETS, baseline=references)
    assert torch.equal(maps, torch.zeros_like(inputs))


def test_maps_lie_between_zero_and_one():
    inputs, references = case()
    maps = ENTRY.factory(masks=60)(Smooth(), inputs, TARGETS, baseline=references)
    assert torch.equal(maps.amin((1, 2)), torch.zeros(2).double())
    assert torch.equal(maps.amax((1, 2)), torch.ones(2).double())


def test_a_constant_on_the_logit_leaves_the_map():
    class Shifted(Smooth):
        def forward(self, inputs):
            return super().forward(inputs) + 100

    inputs, references = case()
    explain = ENTRY.factory(masks=60)
    maps = []
    for model in (Smooth(), Shifted()):
        torch.manual_seed(0)
        maps.append(explain(model, inputs, TARGETS, baseline=references))
    assert torch.allclose(*maps, rtol=0, atol=1e-10)


def test_masks_of_each_pair_have_its_density_and_width():
    inputs = torch.zeros(1, 2, 60)
    pairs = [(0.1, 0.05), (0.8, 0.05), (0.5, 0.3), (0.5, 0.001)]
    torch.manual_seed(0)
    drawn = list(time_reise._chunks(inputs, 4 * 800 + 1, pairs))
    assert [len(some) for some in drawn] == [801, 800, 800, 800]
    for some, (density, granularity) in zip(drawn, pairs, strict=True):
        assert some.min() >= 0
        assert some.max() <= 1
        assert (some.mean((0, 1)) - density).abs().max() < 0.08
        binary = ((some == 0) | (some == 1)).float().mean()
        steps = (some[..., 1:] - some[..., :-1]).abs().amax()
        # Slices of one step jump; wider ones rise linearly by a step's share of them.
        slices = min(60, -(-1 // granularity))
        side = 60 / slices
        slope = 1 if side == 1 else slices / ((slices + 1) * side)
        assert float(steps) == pytest.approx(slope, abs=1e-5)
        assert (binary == 1) == (side == 1)


def test_channels_have_masks_of_their_own_under_one_shift():
    inputs = torch.zeros(1, 2, 40)
    torch.manual_seed(0)
    (masks,) = time_reise._chunks(inputs, 500, [(0.5, 0.1)])
    apart = masks - masks.mean(0)
    same = (apart[:, 0] * apart[:, 1]).mean() / apart.square().mean()
    assert abs(same) < 0.1


def test_passes_of_bounded_size_give_the_same_map(monkeypatch):
    inputs, references = case()
    model, sizes = Smooth(), []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    explain = ENTRY.factory(masks=26, densities=[0.2, 0.7], granularities=[0.1])
    torch.manual_seed(0)
    whole = explain(model, inputs, TARGETS, baseline=references)
    assert sizes == [13] * 4
    sizes.clear()
    monkeypatch.setattr(passes, "_VALUES", 5 * inputs[0].numel())
    torch.manual_seed(0)
    chunked = explain(model, inputs, TARGETS, baseline=references)
    assert torch.allclose(chunked, whole, rtol=0, atol=1e-12)
    assert sizes == [5, 5, 5, 5, 3, 3] * 2


def test_a_signal_alone_has_the_same_map():
    inputs, references = case()
    explain = ENTRY.factory(masks=40)
    torch.manual_seed(0)
    together = explain(Smooth(), inputs, TARGETS, baseline=references)
    torch.manual_seed(0)
    alone = explain(Smooth(), inputs[1:], TARGETS[1:], baseline=references[1:])
    assert torch.equal(alone, together[1:])


def test_a_planted_stretch_of_one_channel_is_found():
    class Planted(nn.Module):
        def forward(self, inputs):
            mean = inputs[:, 1, 20:26].mean(1)
            return torch.stack([torch.zeros_like(mean), mean], 1)

    torch.manual_seed(0)
    inputs = torch.rand(2, 3, 40) + 0.5
    explain = ENTRY.factory(masks=3000)
    maps = explain(Planted(), inputs, torch.tensor([1, 1]), baseline=torch.zeros(1, 3, 40))
    truth = torch.zeros(3, 40, dtype=torch.bool)
    truth[1, 20:26] = True
    for scores in maps:
        assert truth.flatten()[scores.argmax()]
        assert scores[truth].mean() > scores[~truth].mean() + 3 * scores[~truth].std()


def test_cost_and_traits():
    inputs, references = case()
    model, count = Smooth(), []
    model.register_forward_hook(lambda _, __, output: count.append(len(output)))
    traits = ENTRY.traits({"masks": 17}, library="own")
    ENTRY.factory(masks=17)(model, inputs, TARGETS, baseline=references)
    assert traits.cost == "17 forward"
    assert sum(count) == 17 * len(inputs)
    assert traits.stochastic
    assert traits.needs_baseline
    assert ENTRY.inputs == {"signal"}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"masks": 14}, "masks: got 14, expected an integer >= 15"),
        ({"masks": True}, "masks: got True, expected an integer >= 15"),
        ({"densities": []}, "densities: got [], expected a list of numbers above 0 and below 1"),
        ({"densities": 0.5}, "densities: got 0.5, expected a list of numbers above 0 and below 1"),
        ({"densities": "0.5"}, "densities: got '0.5', expected a list of numbers above 0"),
        ({"densities": [0.5, 1]}, "densities: got [0.5, 1], expected a list of numbers above 0"),
        ({"densities": [0.5, 0]}, "densities: got [0.5, 0], expected a list of numbers above 0"),
        ({"densities": [0.5, None]}, "densities[1]: got None, expected a finite number"),
        ({"granularities": [1.1]}, "granularities: got [1.1], expected a list of numbers above 0"),
        ({"granularities": [0]}, "granularities: got [0], expected a list of numbers above 0 and"),
        ({"output": "softmax"}, "output: got 'softmax', expected one of logit, probability"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InvalidArgument) as caught:
        ENTRY.factory(**options)
    assert str(caught.value).startswith(message)


def test_granularity_of_one_is_one_slice():
    inputs, references = case()
    explain = ENTRY.factory(masks=8, densities=[0.5], granularities=[1])
    maps = explain(Smooth(), inputs, TARGETS, baseline=references)
    # Every mask shows all steps of a channel or none: the channel's steps share one score.
    assert torch.equal(maps, maps[..., :1].expand_as(maps))
