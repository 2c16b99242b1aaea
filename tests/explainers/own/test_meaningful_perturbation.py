"""Meaningful perturbation against its objective in loops, and where the map is known."""

import copy
import itertools
import math

import pytest
import torch
from scipy import ndimage
from torch import nn

from fixtures import models
from pytest_xai import check_explainer
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.own.blurring import blurred, shifted
from pytest_xai.explainers.own.meaningful_perturbation import ENTRIES, Deletion, cost
from pytest_xai.protocol import NamedExplainer
from pytest_xai.subjects import load_digits

SPEC = "xai:MeaningfulPerturbation"
ENTRY = ENTRIES[SPEC]
F64 = torch.float64


def explain(model, inputs, targets, baseline=None, **options):
    baseline = torch.zeros_like(inputs[:1]) if baseline is None else baseline
    return ENTRY.factory(**options)(model, inputs, targets, baseline=baseline)


def deletion(**changed):
    values = {name: value for name, value in ENTRY.options.items() if name in Deletion.__slots__}
    return Deletion(**{**values, **changed})


class Planted(nn.Module):
    """Class 1 by the mean over a patch of 4 x 4 places, and over nothing else."""

    def forward(self, images):
        mean = images[:, :, 5:9, 2:6].mean((1, 2, 3))
        return torch.stack([-2 * mean, 2 * mean], 1)


@pytest.mark.parametrize("perturb", ["blur", "baseline"])
@pytest.mark.parametrize("cells", [12, 6])
def test_the_map_lies_on_the_planted_patch(perturb, cells):
    torch.manual_seed(0)
    images = torch.rand(3, 2, 12, 12, dtype=F64) / 5
    images[:, :, 5:9, 2:6] += 1
    maps = explain(Planted(), images, torch.tensor([1, 1, 1]), perturb=perturb, cells=cells)
    assert maps.shape == (3, 1, 12, 12)
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[5:9, 2:6] = True
    for chart in maps[:, 0]:
        assert inside.flatten()[chart.argmax()]
        assert chart[inside].mean() > 3 * chart[~inside].mean()
    assert (maps > 0).all()
    assert (maps < 1).all()


def test_nothing_is_deleted_where_the_model_is_constant():
    class Constant(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2] * 0

    images = torch.rand(2, 1, 6, 6, dtype=F64)
    sizes = [
        explain(Constant(), images, torch.tensor([0, 1]), steps=steps).max().item()
        for steps in (1, 10, 100, 400)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.02
    hurried = explain(Constant(), images, torch.tensor([0, 1]), learning_rate=1.0)
    assert hurried.max() < 1e-3


def plain_cost(shares, l1, tv, power):
    """Of one mask (cells,) or (rows, columns), as nested lists."""
    rows = shares if isinstance(shares[0], list) else [shares]
    flat = [value for row in rows for value in row]
    total = l1 * sum(flat) / len(flat)
    for row, column in itertools.product(range(len(rows)), range(len(rows[0]))):
        if row:
            total += tv * abs(rows[row][column] - rows[row - 1][column]) ** power / len(flat)
        if column:
            total += tv * abs(rows[row][column] - rows[row][column - 1]) ** power / len(flat)
    return total


@pytest.mark.parametrize("shape", [(5,), (3, 4), (1, 6)])
def test_cost_of_a_mask_in_loops(shape):
    torch.manual_seed(0)
    shares = torch.rand(3, 1, *shape, dtype=F64)
    found = cost(shares, deletion(l1=0.3, tv=0.7, tv_power=1.5))
    expected = [plain_cost(each[0].tolist(), 0.3, 0.7, 1.5) for each in shares]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_cost_of_a_volume():
    shares = torch.zeros(1, 1, 2, 2, 2, dtype=F64)
    shares[..., 1] = 1
    assert cost(shares, deletion(l1=0.5, tv=0.25, tv_power=3.0)).item() == 0.5 / 2 + 0.25 * 4 / 8


def score_of(model, signal, other, shares, target):
    """The objective of one mask on one signal (1, C, T) with as many cells as places."""
    mixed = (1 - shares) * signal + shares * other
    return model(mixed).softmax(1)[0, target]


def test_the_updates_are_those_of_adam_on_the_objective():
    model = models.signal_net()
    torch.manual_seed(1)
    signal, baseline = torch.randn(2, 1, 2, 9, dtype=F64)
    l1, tv, power, rate = 0.2, 0.6, 1.5, 0.3
    logits = [3.0] * 9
    first, second = [0.0] * 9, [0.0] * 9
    for step in range(1, 6):
        leaf = torch.tensor(logits, dtype=F64, requires_grad=True)
        shares = leaf.sigmoid()
        value = l1 * shares.mean() + score_of(model, signal, baseline, shares, 2)
        value = value + tv * sum(abs(shares[i] - shares[i - 1]) ** power for i in range(1, 9)) / 9
        (gradient,) = torch.autograd.grad(value, leaf)
        for i, slope in enumerate(gradient.tolist()):
            first[i] = 0.9 * first[i] + 0.1 * slope
            second[i] = 0.999 * second[i] + 0.001 * slope**2
            size = math.sqrt(second[i] / (1 - 0.999**step)) + 1e-8
            logits[i] -= rate * first[i] / (1 - 0.9**step) / size
    options = {"steps": 5, "learning_rate": rate, "l1": l1, "tv": tv, "tv_power": power}
    maps = explain(
        model, signal, torch.tensor([2]), baseline=baseline, perturb="baseline", **options
    )
    expected = torch.tensor(logits, dtype=F64).sigmoid()
    assert torch.allclose(maps[0, 0], expected, atol=1e-10)


def test_the_objective_descends():
    subject = load_digits(8).double()
    values = []
    for steps in (1, 5, 25, 100):
        maps = explain(
            subject.model,
            subject.inputs,
            subject.targets,
            subject.baseline,
            steps=steps,
            perturb="baseline",
        )
        mixed = (1 - maps) * subject.inputs + maps * subject.baseline
        left = subject.model(mixed).softmax(1).gather(1, subject.targets[:, None])[:, 0]
        values.append((left + cost(maps, deletion())).detach())
    for before, after in itertools.pairwise(values):
        assert (after < before).all()


class Either(nn.Module):
    """Class 1 while place 0 is there, or both of places 2 and 3."""

    def forward(self, signals):
        a, _, c, d = signals[:, 0].unbind(1)
        return torch.stack([torch.zeros_like(a), 8 * torch.maximum(a, c * d) - 4], 1)


@pytest.mark.parametrize("l1, tv", [(0.4, 0.01), (0.1, 0.2), (6.0, 0.01)])
def test_the_best_of_all_binary_masks(l1, tv):
    """Deleted must be place 0 and one of 2 and 3; of those the smooth neighbour of 1 if any."""
    signal = torch.tensor([[[1.0, 1.0, 1.0, 0.9]]], dtype=F64)
    costs = {}
    for mask in itertools.product((0.0, 1.0), repeat=4):
        shares = torch.tensor(mask, dtype=F64)
        score = score_of(Either(), signal, torch.zeros_like(signal), shares, 1).item()
        costs[mask] = score + plain_cost(list(mask), l1, tv, 3.0)
    best = min(costs, key=costs.get)
    options = {"l1": l1, "tv": tv, "steps": 400}
    maps = explain(Either(), signal, torch.tensor([1]), perturb="baseline", **options)[0, 0]
    assert tuple((maps > 0.5).double().tolist()) == best
    reached = score_of(Either(), signal, torch.zeros_like(signal), maps, 1).item()
    # Masks between 0 and 1 may do better than all binary ones.
    assert reached + plain_cost(maps.tolist(), l1, tv, 3.0) < costs[best] + 0.02


def test_probability_is_explained_not_the_logit():
    """A constant added to all logits changes no probability; a sigmoid does for one output."""

    class Lifted(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, inputs):
            return self.model(inputs) + 100 * inputs.flatten(1).mean(1, keepdim=True)

    class Single(nn.Module):
        def forward(self, images):
            return 4 * images[:, :, 5:9, 2:6].mean((1, 2, 3))[:, None]

    images = torch.rand(2, 2, 12, 12, dtype=F64)
    targets = torch.tensor([1, 0])
    maps = explain(Planted(), images, targets, steps=20)
    assert torch.allclose(maps, explain(Lifted(Planted()), images, targets, steps=20), atol=1e-9)
    single = explain(Single(), images, torch.zeros(2, dtype=torch.long), steps=20)
    both = explain(Planted(), images, torch.ones(2, dtype=torch.long), steps=20)
    assert torch.allclose(single, both, atol=1e-9)


@pytest.mark.parametrize("shape", [(7,), (6, 9), (4, 5, 3)])
@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.6])
def test_blur_is_that_of_scipy(shape, sigma):
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, *shape, dtype=F64)
    expected = inputs.numpy()
    for axis, side in enumerate(shape, start=2):
        size = sigma * side
        expected = ndimage.gaussian_filter1d(
            expected, size, axis=axis, mode="nearest", truncate=(int(4 * size) + 1) / size
        )
    found = blurred(inputs, sigma)
    assert torch.allclose(found, torch.from_numpy(expected), atol=1e-12)


def test_no_blur_is_a_copy():
    inputs = torch.randn(2, 1, 4, 4)
    found = blurred(inputs, 0.0)
    assert torch.equal(found, inputs)
    assert found.data_ptr() != inputs.data_ptr()


def test_shifts_go_through_all_there_are():
    values = torch.arange(12.0).view(1, 1, 3, 4)
    found = [shifted(values, step, 1)[0, 0].tolist() for step in range(4)]
    rows = [[0.0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    right = [[0.0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10]]
    assert found == [rows, [rows[0], *rows[:2]], right, [right[0], *right[:2]]]
    assert torch.equal(shifted(values, 4, 1), values)
    assert torch.equal(shifted(values, 9, 0), values)


def test_jitter_shifts_what_the_model_sees():
    class Watched(Planted):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, images):
            self.seen.append(images.detach()[0, 0, 0].clone())
            return super().forward(images)

    model, images = Watched(), torch.rand(1, 1, 12, 12, dtype=F64)
    explain(model, images, torch.tensor([1]), steps=3, jitter=2, sigma=0.0)
    # Without a blur nothing is perturbed: what differs was shifted, along the first side.
    assert torch.equal(model.seen[0], images[0, 0, 0])
    assert torch.equal(model.seen[1], images[0, 0, 0])
    assert torch.equal(model.seen[2], images[0, 0, 0])
    explain(model, images, torch.tensor([1]), steps=4, jitter=2, sigma=0.0)
    assert torch.equal(model.seen[-1][1:], images[0, 0, 0, :-1])


def network(kind):
    torch.manual_seed(0)
    shape = {"signal": (2, 9), "image": (2, 6, 5), "volume": (2, 4, 5, 3)}[kind]
    layer = {"signal": nn.Conv1d, "image": nn.Conv2d, "volume": nn.Conv3d}[kind](2, 5, 3, padding=1)
    pool = {"signal": nn.AdaptiveAvgPool1d, "image": nn.AdaptiveAvgPool2d}.get(
        kind, nn.AdaptiveAvgPool3d
    )
    model = nn.Sequential(layer, nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(5, 3)).double().eval()
    return model, torch.randn(3, *shape, dtype=F64), torch.tensor([2, 0, 1])


@pytest.mark.parametrize("kind", ["signal", "image", "volume"])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_all_kinds_alone_and_together(kind, dtype):
    model, inputs, targets = network(kind)
    model, inputs = model.to(dtype), inputs.to(dtype)
    state, before = copy.deepcopy(model.state_dict()), inputs.clone()
    random = torch.get_rng_state()
    maps = explain(model, inputs, targets, steps=30, cells=4)
    with torch.no_grad():
        alone = [
            explain(model, inputs[i : i + 1], targets[i : i + 1], steps=30, cells=4)
            for i in range(3)
        ]
    assert maps.shape == (3, 1, *inputs.shape[2:])
    assert maps.dtype == dtype
    assert not maps.requires_grad
    assert torch.allclose(maps, torch.cat(alone), atol=1e-9 if dtype == F64 else 1e-3)
    assert not torch.allclose(maps, explain(model, inputs, targets.roll(1), steps=30, cells=4))
    assert torch.equal(inputs, before)
    assert torch.equal(random, torch.get_rng_state())
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("steps", [1, 7])
def test_cost_is_the_counted_one(steps, monkeypatch):
    monkeypatch.setattr(
        "pytest_xai.explainers.own.meaningful_perturbation.images_per_pass", lambda _: 2
    )
    model, inputs, targets = network("image")
    spent = {"forward": 0, "backward": 0, "largest": 0}

    def count(_, __, output):
        spent["forward"] += len(output)
        spent["largest"] = max(spent["largest"], len(output))
        output.register_hook(lambda _: spent.update(backward=spent["backward"] + len(output)))

    model.register_forward_hook(count)
    explain(model, inputs, targets, steps=steps)
    assert spent == {"forward": 3 * steps, "backward": 3 * steps, "largest": 2}
    traits = ENTRY.traits({"steps": steps}, library="own")
    assert traits.cost == f"{steps} forward + {steps} backward"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "steps: got 0, expected an integer >= 1"),
        ({"cells": 2.0}, "cells: got 2.0, expected an integer >= 1"),
        ({"jitter": -1}, "jitter: got -1, expected an integer >= 0"),
        ({"l1": -0.1}, "l1: got -0.1, expected a number >= 0"),
        ({"tv": float("nan")}, "tv: got nan, expected a finite number"),
        ({"tv_power": 0.5}, "tv_power: got 0.5, expected a number >= 1"),
        ({"learning_rate": "fast"}, "learning_rate: got 'fast', expected a finite number"),
        ({"sigma": -1}, "sigma: got -1, expected a number >= 0"),
        ({"perturb": "noise"}, "perturb: got 'noise', expected one of blur, baseline"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InvalidArgument) as caught:
        ENTRY.factory(**options)
    assert message in str(caught.value)


def test_gate_on_digits():
    named = NamedExplainer(
        name=SPEC, call=ENTRY.factory(steps=30), traits=ENTRY.traits({}, library="own")
    )
    names = ["side_effects", "batch_independent", "deterministic", "target_sensitive", "shape"]
    report = check_explainer(named, load_digits(16), checks=names, on_fail="ignore")
    assert {verdict.check: verdict.outcome for verdict in report} == dict.fromkeys(names, "passed")
