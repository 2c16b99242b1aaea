"""One pixel against all pixels and many values, tried one by one."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.attacks import one_pixel
from pytest_xai.attacks.one_pixel import _Search
from pytest_xai.attacks.victim import Victim, margin


def small_network(channels=1, classes=3):
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16 * channels, 12), nn.Tanh(), nn.Linear(12, classes)
    ).double()


def small_images(count=20, channels=1):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, channels, 4, 4, generator=generator, dtype=torch.float64)


def least_margin(model, image, label):
    """The least margin of the label over every pixel and 101 grey values of it."""
    values = torch.linspace(0, 1, 101, dtype=torch.float64)
    changed = image.flatten().repeat(16, 101, 1)
    for place in range(16):
        changed[place, :, place] = values
    logits = model(changed.reshape(-1, 1, 4, 4)).detach()
    return float(margin(logits, torch.full((len(logits),), label)).min())


def test_it_succeeds_where_any_pixel_does(bench_of):
    model = small_network()
    bench = bench_of(model, small_images())
    found = one_pixel(bench, population=60, generations=20)
    least = torch.tensor(
        [
            least_margin(model, image, label)
            for image, label in zip(bench.inputs, bench.targets.tolist(), strict=True)
        ]
    )
    assert 0.2 < (least < 0).double().mean() < 0.8
    # One image is so near that the grid of values would decide.
    clear = least.abs() > 1e-3
    assert clear.sum() == 19
    assert torch.equal(found.flipped[clear], (least < 0)[clear])
    assert torch.equal(found.size, found.flipped.double())
    assert found.within.all()


def test_more_pixels_lead_more_astray_and_keep_their_budget(bench_of):
    bench = bench_of(small_network(), small_images())
    one, three = (one_pixel(bench, pixels=pixels, generations=8) for pixels in (1, 3))
    assert three.flipped.sum() > one.flipped.sum()
    assert three.size.max() <= 3
    assert three.within.all()


def test_all_channels_of_the_pixel_may_change(bench_of):
    bench = bench_of(small_network(channels=3), small_images(channels=3))
    found = one_pixel(bench, generations=10)
    assert found.flipped.any()
    pixels = (found.inputs != bench.inputs).any(1).flatten(1).sum(1)
    assert pixels.max() == 1
    assert found.size.max() == 3
    assert found.within.all()


SHAPES = {"table": (7,), "signal": (2, 7), "image": (3, 2, 4), "volume": (2, 2, 3, 2)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_candidate_changes_one_place_and_reaches_every_one(shape):
    inputs = torch.full((1, *shape), 0.25, dtype=torch.float64)
    victim = Victim(
        network=nn.Identity(),
        inputs=inputs,
        labels=torch.zeros(1, dtype=torch.long),
        bounds=(-1.0, 3.0),
        generators=[torch.Generator().manual_seed(0)],
        batch=8,
    )
    search = _Search(victim, 0, 1)
    candidates = np.random.default_rng(0).random((400, search.numbers))
    candidates[0], candidates[1] = 0.0, 1.0
    made = search.inputs(candidates)
    changed = (made != 0.25).reshape(400, search.channels, -1)
    assert (changed.any(1).sum(1) == 1).all()
    assert changed.all(1).any(1).all()
    assert changed.any(0).all()
    assert (made[0] == -1).sum() == (made[1] == 3).sum() == search.channels
    axes = len(search.places)
    expected = -1 + 4 * torch.from_numpy(candidates[:, axes:])
    place = changed[:, 0].long().argmax(1)
    at = made.reshape(400, search.channels, -1).gather(
        2, place[:, None, None].expand(-1, search.channels, 1)
    )
    assert torch.allclose(at.squeeze(2), expected)
    # Along the last axis, as the candidate's numbers say.
    last = search.places[-1]
    column = torch.from_numpy((candidates[:, axes - 1] * last).astype(int).clip(0, last - 1))
    assert torch.equal(place % last, column)


def test_it_ends_with_the_first_candidate_that_succeeds(bench_of):
    bench = bench_of(small_network(), small_images(1))
    easy = one_pixel(bench, pixels=5, population=30, generations=50)
    assert easy.flipped.all()
    assert bench.counter.spent.forward < 30 * 25


def test_a_generation_is_evaluated_at_once(bench_of):
    sizes = []
    model = small_network()
    bench = bench_of(model, small_images(1))
    model.register_forward_hook(lambda _, __, output: sizes.append(len(output)))
    one_pixel(bench, population=40, generations=3)
    assert sizes.count(40) >= 1
    assert set(sizes) <= {1, 40}


def test_another_seed_draws_others(bench_of):
    from pytest_xai import Bench, Subject

    subject = Subject(small_network(), small_images(6), bounds=(0.0, 1.0))
    made = [
        one_pixel(Bench(subject, seed=seed), pixels=4, generations=5).inputs.sum()
        for seed in (0, 1)
    ]
    assert made[0] != made[1]
