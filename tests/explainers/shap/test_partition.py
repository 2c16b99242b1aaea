"""shap's PartitionExplainer against Owen values of the tree, and its image masker's fillings."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.shap import ENTRIES

ENTRY = ENTRIES["shap:PartitionExplainer"]


def network(count, outputs=3):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(count, 7), nn.Tanh(), nn.Linear(7, outputs)]
    return nn.Sequential(*layers).double()


def owen(worth, leaves):
    """Owen values of a balanced tree over leaves: each half in both orders, then its halves."""
    if len(leaves) == 1:
        (leaf,) = leaves
        return {leaf: worth(frozenset(leaves)) - worth(frozenset())}
    middle = len(leaves) // 2
    values = {}
    for half, other in ((leaves[:middle], leaves[middle:]), (leaves[middle:], leaves[:middle])):
        without = owen(worth, half)
        beside = owen(lambda shown, other=other: worth(shown | set(other)), half)
        values |= {leaf: (without[leaf] + beside[leaf]) / 2 for leaf in half}
    return values


@pytest.mark.slow
def test_owen_values_where_evaluations_suffice():
    # Halves of 1 x 4 places are halves of the places in their order.
    model = network(4)
    image, baseline = torch.randn(2, 1, 1, 1, 4).double()
    maps = ENTRY.factory(evaluations=200)(model, image, torch.tensor([1]), baseline=baseline)

    def worth(shown):
        mask = torch.tensor([place in shown for place in range(4)])
        return model(torch.where(mask, image, baseline))[0, 1].item()

    values = owen(worth, (0, 1, 2, 3))
    expected = torch.tensor([values[place] for place in range(4)], dtype=torch.float64)
    assert torch.allclose(maps.flatten(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("evaluations", [4, 20, 61])
def test_sums_to_the_difference_however_few_evaluations(evaluations):
    model = network(60)
    images, baseline = torch.randn(2, 2, 2, 6, 5).double()
    targets = torch.tensor([1, 2])
    spent = []
    model.register_forward_hook(lambda _, inputs, __: spent.append(len(inputs[0])))
    maps = ENTRY.factory(evaluations=evaluations)(model, images, targets, baseline=baseline)
    assert evaluations - 1 <= sum(spent) / 2 <= evaluations
    difference = (model(images) - model(baseline)).gather(1, targets[:, None]).squeeze(1)
    assert maps.shape == images.shape
    assert torch.allclose(maps.flatten(1).sum(1), difference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("blur, side", [(None, 2), (3, 3)])
def test_blurred_places_are_means_of_a_box_with_mirrored_edges(blur, side):
    model = network(60)
    image = torch.randn(1, 2, 6, 5).double()
    maps = ENTRY.factory(mask="blur", blur=blur, evaluations=20)(
        model, image, torch.tensor([0]), baseline=image
    )
    padded = nn.functional.pad(image, (side // 2, (side - 1) // 2) * 2, mode="reflect")
    blurred = nn.functional.avg_pool2d(padded, side, 1)
    difference = (model(image) - model(blurred))[0, 0]
    assert torch.allclose(maps.sum(), difference, rtol=0, atol=1e-12)


class Even(nn.Module):
    """All halves have equal effects, so that only the draw decides which is divided."""

    def forward(self, inputs):
        total = inputs.flatten(1).sum(1, keepdim=True)
        return torch.cat([total**2, total**3], 1)


def test_neither_draws_nor_depends_on_draws_and_neighbours():
    images = torch.ones(3, 2, 6, 5).double()
    images[0] *= 2
    targets, baseline = torch.tensor([0, 1, 0]), torch.zeros(1, 2, 6, 5).double()
    explain = ENTRY.factory(evaluations=30)
    np.random.seed(1)
    state = np.random.get_state()[1:3]
    together = explain(Even(), images, targets, baseline=baseline)
    assert np.array_equal(np.random.get_state()[1], state[0])
    assert np.random.get_state()[2] == state[1]
    np.random.seed(2)
    assert torch.equal(explain(Even(), images[2:], targets[2:], baseline=baseline), together[2:])


def test_claims_depend_on_what_hidden_places_show():
    assert ENTRY.traits({}, library="").claims == {
        "positive_homogeneity",
        "sensitivity_a",
        "shift_invariance",
        "sign_convention",
        "summation_to_delta",
    }
    assert ENTRY.traits({"mask": "blur"}, library="").claims == set()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"evaluations": 3}, "evaluations: got 3, expected an integer >= 4"),
        ({"mask": "inpaint"}, "mask: got 'inpaint', expected one of baseline, blur"),
        ({"blur": 0}, "blur: got 0, expected an integer >= 1"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InvalidArgument, match=message):
        ENTRY.factory(**options)


class Viewing(nn.Module):
    """Takes apart its inputs where they lie in memory, which needs them in the usual order."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs.view(len(inputs), -1).view_as(inputs))


def test_models_that_call_view_are_explained():
    model, images, targets = network(8), torch.rand(2, 2, 2, 2).double(), torch.tensor([0, 1])
    given = images, targets
    baseline = torch.zeros(1, 2, 2, 2).double()
    expected = ENTRY.factory(evaluations=40)(model, *given, baseline=baseline)
    found = ENTRY.factory(evaluations=40)(Viewing(model), *given, baseline=baseline)
    assert torch.equal(found, expected)
