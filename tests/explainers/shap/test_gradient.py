"""shap's GradientExplainer: the mean gradient over random points that are drawn here."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.shap import ENTRIES

ENTRY = ENTRIES["shap:GradientExplainer"]


class Cubic(nn.Module):
    def forward(self, inputs):
        return torch.stack([inputs.pow(3).sum(1), -2 * inputs.pow(2).sum(1)], 1)


def seeded(explain, *arguments, seed=3, **options):
    np.random.seed(seed)
    return explain(*arguments, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_models_are_exact(dtype):
    model = nn.Linear(3, 2).to(dtype)
    images, baseline = torch.randn(2, 4, 3, dtype=dtype)
    targets = torch.tensor([0, 1, 1, 0])
    maps = ENTRY.factory(samples=3)(model, images, targets, baseline=baseline)
    assert maps.dtype == dtype
    expected = (images - baseline) * model.weight[targets]
    assert torch.allclose(maps, expected, rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-6)


def test_places_are_those_of_the_seed_in_float64():
    images, baseline = torch.randn(2, 1, 4).double()
    maps = seeded(ENTRY.factory(samples=20), Cubic(), images, torch.tensor([0]), baseline=baseline)
    np.random.seed(3)
    np.random.seed(np.random.randint(2**31))
    places = []
    for _ in range(20):
        np.random.choice(1)
        places.append(np.random.uniform())
    points = baseline + torch.tensor(places, dtype=torch.float64)[:, None] * (images - baseline)
    expected = (3 * points.square()).mean(0) * (images - baseline)
    assert torch.allclose(maps, expected, rtol=0, atol=1e-12)


def test_sums_to_the_difference_on_average():
    images, baseline = torch.full((1, 1), 2.0).double(), torch.ones(1, 1).double()
    maps = seeded(
        ENTRY.factory(samples=4000), Cubic(), images, torch.tensor([0]), baseline=baseline
    )
    # The derivative 3 (1 + t)^2 has a standard deviation of 2.63; five standard errors.
    assert abs(float(maps) - 7) < 5 * 2.63 / 4000**0.5


def test_images_share_their_draws_and_seeds_matter():
    torch.manual_seed(0)
    images, baseline = torch.randn(2, 3, 4).double()
    targets = torch.tensor([0, 1, 0])
    explain = ENTRY.factory(samples=5)
    together = seeded(explain, Cubic(), images, targets, baseline=baseline)
    alone = seeded(explain, Cubic(), images[2:], targets[2:], baseline=baseline[2:])
    assert torch.equal(together[2:], alone)
    other = seeded(explain, Cubic(), images, targets, baseline=baseline, seed=4)
    assert not torch.allclose(other, together)


def test_numpys_generator_moves_by_one_draw_and_the_default_dtype_stays():
    images = torch.randn(2, 3).double()
    seeded(ENTRY.factory(samples=2), Cubic(), images, torch.tensor([0, 1]), baseline=images[:1])
    after = np.random.get_state()[1:3]
    np.random.seed(3)
    np.random.randint(2**31)
    assert np.array_equal(after[0], np.random.get_state()[1])
    assert after[1] == np.random.get_state()[2]
    assert torch.get_default_dtype() == torch.float32


def test_the_default_dtype_comes_back_after_an_error():
    def fail(_):
        message = "out of ideas"
        raise ValueError(message)

    model = nn.Linear(3, 2).double()
    model.register_forward_hook(lambda *_: fail(_))
    with pytest.raises(ValueError, match="out of ideas"):
        ENTRY.factory()(
            model,
            torch.zeros(1, 3).double(),
            torch.tensor([0]),
            baseline=torch.zeros(1, 3).double(),
        )
    assert torch.get_default_dtype() == torch.float32


def test_gradients_of_the_callers_model_stay():
    model = nn.Linear(3, 2)
    model.weight.grad = torch.ones(2, 3)
    ENTRY.factory(samples=2)(model, torch.rand(1, 3), torch.tensor([0]), baseline=torch.zeros(1, 3))
    assert torch.equal(model.weight.grad, torch.ones(2, 3))


@pytest.mark.parametrize("samples", [0, 2.0, True, None])
def test_wrong_samples(samples):
    with pytest.raises(InvalidArgument, match="samples: got"):
        ENTRY.factory(samples=samples)


def test_declared_cost_is_the_counted_one():
    spent = {"forward": 0, "backward": 0}

    def count(_, __, output):
        spent["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda _: spent.update(backward=spent["backward"] + len(output)))

    model = nn.Linear(4, 2)
    model.register_forward_hook(count)
    ENTRY.factory(samples=7)(
        model, torch.rand(3, 4), torch.tensor([0, 1, 1]), baseline=torch.zeros(1, 4)
    )
    assert spent == {"forward": 24, "backward": 21}
    assert ENTRY.traits({"samples": 7}, library="").cost == "1 + 7 forward + 7 backward"
