"""shap's KernelExplainer against Shapley values by brute force over all coalitions."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.shap import ENTRIES

ENTRY = ENTRIES["shap:KernelExplainer"]


class Game(nn.Module):
    """Game 15 of four players, and the same times -3 as a second output."""

    def forward(self, x):
        value = x[:, 0] * x[:, 1] + 2 * x[:, 2] - x[:, 0] * x[:, 2] * x[:, 3]
        return torch.stack([value, -3 * value], 1)


def shapley(worth, players):
    values = torch.zeros(players).double()
    for player in range(players):
        others = [each for each in range(players) if each != player]
        for size in range(players):
            weight = 1 / (players * math.comb(players - 1, size))
            for coalition in itertools.combinations(others, size):
                values[player] += weight * (worth({*coalition, player}) - worth({*coalition}))
    return values


def test_game_of_four_players():
    image = torch.tensor([[1, 2, 3, 0.5]]).double()
    maps = ENTRY.factory()(Game(), image, torch.tensor([0]), baseline=torch.zeros_like(image))
    expected = torch.tensor([[0.5, 1, 5.5, -0.5]]).double()
    assert torch.allclose(maps, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(5,), (2, 9), (2, 6, 5), (1, 4, 3, 4)])
def test_all_coalitions_give_shapley_values_of_blocks(shape):
    torch.manual_seed(0)
    count = math.prod(shape)
    model = nn.Sequential(nn.Flatten(), nn.Linear(count, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    image, baseline = torch.randn(2, 1, *shape).double()
    per_side = None if len(shape) == 1 else 2
    maps = ENTRY.factory(per_side=per_side)(model, image, torch.tensor([1]), baseline=baseline)
    halves = [np.arange(side) * 2 // side for side in shape[1:]]
    grid = np.meshgrid(*halves, indexing="ij") if halves else [np.arange(5)]
    blocks = torch.tensor(sum(each * 2**axis for axis, each in enumerate(reversed(grid))))

    def worth(coalition):
        shown = torch.isin(blocks, torch.tensor(sorted(coalition), dtype=torch.long))
        return model(torch.where(shown, image, baseline))[0, 1].item()

    values = shapley(worth, int(blocks.max()) + 1)
    expected = (values / blocks.flatten().bincount())[blocks]
    assert maps.shape == ((1, *shape) if len(shape) == 1 else (1, 1, *shape[1:]))
    assert torch.allclose(maps.reshape(expected.shape), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("samples", [40, 100, 300])
def test_maps_sum_to_the_difference_at_any_number_of_samples(samples):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 3)).double()
    images, baseline = torch.randn(2, 2, 1, 8, 8).double()
    targets = torch.tensor([2, 0])
    maps = ENTRY.factory(samples=samples)(model, images, targets, baseline=baseline)
    difference = (model(images) - model(baseline)).gather(1, targets[:, None]).squeeze(1)
    assert torch.allclose(maps.flatten(1).sum(1), difference, rtol=0, atol=1e-12)


def test_many_features_are_all_kept():
    """shap by itself keeps ten; a linear model of twenty has twenty values."""
    torch.manual_seed(0)
    model = nn.Linear(20, 2).double()
    image, baseline = torch.randn(2, 1, 20).double()
    maps = ENTRY.factory(samples=100)(model, image, torch.tensor([1]), baseline=baseline)
    assert torch.allclose(maps, (image - baseline) * model.weight[1:], rtol=0, atol=1e-10)


def test_images_share_their_draws_and_the_seed_matters():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 2)).double()
    images = torch.randn(3, 20).double()
    targets = torch.tensor([0, 1, 1])

    def explain(rows, seed=0):
        np.random.seed(seed)
        return ENTRY.factory(samples=60)(
            model, images[rows], targets[rows], baseline=torch.zeros(1, 20).double()
        )

    together = explain(slice(None))
    assert torch.allclose(explain(slice(2, 3)), together[2:], rtol=0, atol=1e-12)
    assert not torch.allclose(explain(slice(None), seed=1), together)


@pytest.mark.parametrize("features, samples", [(20, 19), (3, 2), (20, 20), (20, 30)])
def test_too_few_samples_for_the_features(features, samples):
    """shap itself notices only some of the regressions that have no single solution."""
    np.random.seed(0)
    with pytest.raises(InvalidArgument, match=f"samples: got {samples} for {features} features"):
        ENTRY.factory(samples=samples)(
            nn.Linear(features, 2),
            torch.rand(1, features),
            torch.tensor([0]),
            baseline=torch.zeros(1, features),
        )


def test_one_feature_has_it_all():
    model = nn.Linear(1, 2).double()
    image = torch.ones(1, 1).double()
    maps = ENTRY.factory()(model, image, torch.tensor([1]), baseline=0 * image)
    assert torch.allclose(maps, model.weight[1:])


@pytest.mark.parametrize("option", ["samples", "per_side"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "4", True])
def test_wrong_options(option, value):
    with pytest.raises(InvalidArgument, match=f"{option}: got"):
        ENTRY.factory(**{option: value})


@pytest.mark.parametrize("features, samples, forward", [(20, 60, 62), (4, 60, 16), (1, 60, 2)])
def test_declared_cost_is_the_counted_one(features, samples, forward):
    spent = []
    model = nn.Linear(features, 2)
    model.register_forward_hook(lambda _, inputs, __: spent.append(len(inputs[0])))
    np.random.seed(0)
    ENTRY.factory(samples=samples)(
        model, torch.rand(3, features), torch.tensor([0, 1, 1]), baseline=torch.zeros(1, features)
    )
    assert sum(spent) == 3 * forward
    cost = ENTRY.traits({"samples": samples}, library="").cost
    assert cost == "2 + 60 forward, or fewer if there are fewer coalitions"
