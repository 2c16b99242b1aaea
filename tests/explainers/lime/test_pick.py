"""SP-LIME's pick against a greedy choice written out, and against all choices."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.lime import submodular_pick


def coverage(rows, chosen):
    importance = rows.abs().sum(0).sqrt()
    return float(importance[(rows[list(chosen)] != 0).any(0)].sum())


def greedy(rows, budget):
    chosen = []
    for _ in range(budget):
        left = [position for position in range(len(rows)) if position not in chosen]
        chosen.append(max(left, key=lambda each: (coverage(rows, [*chosen, each]), each)))
    return chosen


def sparse(seed, images=6, places=8):
    generator = torch.Generator().manual_seed(seed)
    # Whole numbers at powers of two: no two sets of places are as important as each other.
    shown = torch.rand(images, places, generator=generator) < 0.3
    return shown * 4.0 ** torch.arange(places) * torch.randn(images, places, generator=generator)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), budget=st.integers(1, 6))
def test_chosen_greedily_and_nearly_the_best(seed, budget):
    rows = sparse(seed)
    chosen = submodular_pick(rows, budget)
    assert len(set(chosen)) == budget
    # Where sums of different places come out equal up to rounding, either may come first.
    found, expected = coverage(rows, chosen), coverage(rows, greedy(rows, budget))
    assert found == pytest.approx(expected, rel=1e-9)
    best = max(coverage(rows, each) for each in itertools.combinations(range(6), budget))
    assert found >= (1 - 1 / 2.718281828) * best - 1e-6


def test_the_best_pair_of_a_small_case():
    maps = torch.tensor([[[5.0, 0], [0, 0]], [[4, 1], [0, 0]], [[0, 0], [2, -3]], [[0, 0], [2, 0]]])
    # Importances 3, 1, 2 and sqrt 3: the second map covers 4 of them, the third 3.73.
    assert submodular_pick(maps, 2) == [1, 2]
    assert submodular_pick(maps, 1) == [1]
    assert sorted(submodular_pick(maps, 4)) == [0, 1, 2, 3]


def test_signs_do_not_cancel():
    maps = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.5, 0]])
    assert submodular_pick(maps, 1) == [1]


def test_of_equally_good_images_the_last_comes_first():
    assert submodular_pick(torch.ones(3, 4), 2) == [2, 1]


def test_only_the_largest_values_count():
    maps = torch.tensor([[9.0, 0.1, 0.1], [0.1, -8.0, 0.1], [8.0, 0.2, 0.1]])
    assert submodular_pick(maps, 2) == [2, 1]
    assert sorted(submodular_pick(maps, 2, features=1)) == [1, 2]
    assert submodular_pick(maps, 2, features=1)[0] == 2
    assert submodular_pick(maps, 1, features=99) == [2]


@pytest.mark.filterwarnings("error")
def test_zero_maps_are_chosen_last():
    maps = torch.tensor([[0.0, 0], [1, 0], [0, 0]])
    assert submodular_pick(maps, 3)[0] == 1


@pytest.mark.parametrize(
    "maps, options, message",
    [
        ([[1.0]], {}, "maps: got list, expected a floating-point tensor"),
        (torch.ones(2, 2).long(), {}, "maps: got torch.int64, expected a floating-point tensor"),
        (torch.ones(2), {}, r"maps: got shape \(2,\)"),
        (torch.ones(0, 2), {}, r"maps: got shape \(0, 2\)"),
        (torch.tensor([[torch.nan]]), {}, "maps: got NaN or infinite values"),
        (torch.ones(2, 2), {"budget": 3}, "budget: got 3, expected at most 2 images"),
        (torch.ones(2, 2), {"budget": 0}, "budget: got 0, expected an integer >= 1"),
        (torch.ones(2, 2), {"features": 0}, "features: got 0, expected an integer >= 1"),
    ],
)
def test_wrong_arguments(maps, options, message):
    with pytest.raises(InvalidArgument, match=message):
        submodular_pick(maps, **{"budget": 1, **options})
