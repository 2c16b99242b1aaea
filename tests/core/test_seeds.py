"""Seeds follow from names alone; the global generators come back as they were."""

import contextlib
import hashlib
import random
from functools import partial

import numpy as np
import pytest
import torch

from pytest_xai.core.seeds import RandomState, derive_seed, generator, seeded


def draws():
    """One number of each of the global generators."""
    return torch.rand(1).item(), np.random.random(), random.random()  # noqa: S311


def test_a_seed_is_the_hash_of_its_parts():
    # Not python's own hash, which differs from process to process.
    digest = hashlib.blake2b(b"7\x1fdigits\x1f0", digest_size=8).hexdigest()
    assert derive_seed(7, "digits", 0) == int(digest, 16) // 2


def test_seeds_are_non_negative_63_bit_numbers_and_differ():
    seeds = {derive_seed(seed, name) for seed in range(50) for name in ("a", "b", "ab", "")}
    assert len(seeds) == 200
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    # All bits are used: the largest of 200 uniform draws is above half of the range.
    assert max(seeds) > 2**62


def test_order_and_borders_of_the_parts_count():
    assert len({derive_seed(*p) for p in (("ab", "c"), ("a", "bc"), ("c", "ab"), ("abc",))}) == 4


def test_a_generator_is_on_the_cpu_and_repeats_its_draws():
    first, again, other = (torch.rand(4, generator=generator(3, name)) for name in "aab")
    assert generator(3, "a").device.type == "cpu"
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_generator_leaves_the_global_ones_alone():
    before = RandomState.now()
    torch.rand(4, generator=generator("a"))
    assert before.differing(RandomState.now()) == set()


@pytest.mark.parametrize("seed", [0, 5, 2**32 + 5, 2**63 - 1])
def test_seeded_repeats_the_draws_of_all_three_generators(seed):
    with seeded(seed):
        first = draws()
    draws()
    with seeded(seed):
        assert draws() == first
    with seeded(seed + 1):
        assert not set(draws()) & set(first)


def test_seeded_gives_the_states_back_also_when_its_body_raises():
    draws()
    before = RandomState.now()
    expected = draws()
    before.restore()
    with seeded(1):
        draws()
    with contextlib.suppress(KeyError), seeded(1):
        draws()
        raise KeyError
    assert before.differing(RandomState.now()) == set()
    assert draws() == expected


@pytest.mark.parametrize(
    "draw, name",
    [
        (partial(torch.rand, 1), "torch"),
        (np.random.random, "numpy"),
        (random.random, "python"),
    ],
    ids=["torch", "numpy", "python"],
)
def test_differing_names_the_generator_that_was_drawn_from(draw, name):
    before = RandomState.now()
    draw()
    after = RandomState.now()
    assert before.differing(after) == after.differing(before) == {name}
    assert before.differing(before) == set()


def test_differing_sees_a_numpy_generator_that_was_seeded_to_the_same_position():
    with seeded(1):
        before = RandomState.now()
        np.random.seed(2)
        assert before.differing(RandomState.now()) == {"numpy"}


def test_differing_sees_the_normal_value_that_numpy_keeps_for_the_next_draw():
    with seeded(1):
        np.random.standard_normal()
        before = RandomState.now()
        np.random.standard_normal()
        assert before.differing(RandomState.now()) == {"numpy"}


def test_the_states_of_gpus_count_as_torchs(monkeypatch):
    now = RandomState.now()
    states = [torch.tensor([1, 2]), torch.tensor([3, 4])]
    moved = [torch.tensor([1, 2]), torch.tensor([3, 5])]
    here, there = (RandomState(now.torch, cuda, now.numpy, now.python) for cuda in (states, moved))
    assert here.differing(here) == set()
    assert here.differing(there) == {"torch"}
    given = []
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", given.append)
    there.restore()
    assert given == [moved]


def test_the_states_of_gpus_are_read_where_there_are_any(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: ["state of a GPU"])
    assert RandomState.now().cuda == ["state of a GPU"]
