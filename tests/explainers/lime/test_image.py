"""lime's image explainer against the ridge regression written out, on the same draws."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.lime import ENTRIES
from pytest_xai.explainers.lime.segments import superpixels

ENTRY = ENTRIES["lime:LimeImage"]
SHAPE = (3, 6, 5)


def network(channels=3, dtype=torch.float64):
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)]
    return nn.Sequential(*layers).to(dtype)


def images_of(count=3, shape=SHAPE, dtype=torch.float64):
    return torch.rand(count, *shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def seeded(options, *arguments, seed=5, baseline=None):
    np.random.seed(seed)
    baseline = torch.zeros_like(arguments[1][:1]) if baseline is None else baseline
    return ENTRY.factory(**options)(*arguments, baseline=baseline)


def blocks(per_side, height, width):
    rows, columns = np.arange(height) * per_side // height, np.arange(width) * per_side // width
    return rows[:, None] * per_side + columns


def ridge(worth, count, samples, width, seed=5):
    """Coefficients of lime's regression: alpha 1, no penalty on the intercept."""
    np.random.seed(seed)
    np.random.randint(0, 1000)
    presence = np.random.randint(0, 2, samples * count).reshape(samples, count)
    presence[0] = 1
    values = np.array([worth(row == 1) for row in presence])
    shown = presence.sum(1)
    # The cosine of the angle to the whole image; to no superpixel at all the distance is 1.
    distances = 1 - np.sqrt(shown / count)
    weights = np.exp(-(distances**2) / width**2 / 2)
    means = weights @ presence / weights.sum(), weights @ values / weights.sum()
    centred = presence - means[0]
    moments = centred.T @ (weights[:, None] * centred) + np.eye(count)
    return np.linalg.solve(moments, centred.T @ (weights * (values - means[1])))


@pytest.mark.parametrize("hidden", ["mean", "zero", "baseline"])
@pytest.mark.parametrize("channels, width", [(3, 0.25), (1, 0.5), (2, 0.25), (5, 1.0)])
def test_weights_are_those_of_the_regression(hidden, channels, width):
    model, image = network(channels), images_of(1, (channels, 6, 5))
    baseline = images_of(1, (channels, 6, 5)).flip(2)
    options = {"segments": "grid", "per_side": 2, "samples": 40, "hidden": hidden}
    maps = seeded(
        {**options, "kernel_width": width}, model, image, torch.tensor([2]), baseline=baseline
    )
    numbers = torch.from_numpy(blocks(2, 6, 5))
    fill = {"zero": torch.zeros_like(image), "baseline": baseline, "mean": image.clone()}[hidden]
    if hidden == "mean":
        for block in range(4):
            fill[:, :, numbers == block] = image[:, :, numbers == block].mean(2, keepdim=True)

    def worth(present):
        return model(torch.where(torch.from_numpy(present)[numbers], image, fill))[0, 2].item()

    expected = torch.from_numpy(ridge(worth, 4, 40, width))[numbers]
    assert maps.shape == (1, 1, 6, 5)
    assert torch.allclose(maps[0, 0], expected, rtol=0, atol=1e-10)


class Presence(nn.Module):
    """Linear in which of four blocks are shown: 1, -2, 3 and 0 times a block's mean."""

    def forward(self, inputs):
        means = nn.functional.avg_pool2d(inputs.mean(1, keepdim=True), 3).flatten(1)
        return means @ torch.tensor([[1.0], [-2], [3], [0]]).to(inputs)


def test_a_linear_model_has_its_coefficients_up_to_the_ridge():
    image = torch.ones(1, 3, 6, 6).double()
    options = {"segments": "grid", "per_side": 2, "samples": 4000, "hidden": "zero"}
    maps = seeded({**options, "kernel_width": 10.0}, Presence(), image, torch.tensor([0]))
    found = maps[0, 0, ::3, ::3].flatten()
    # 4,000 coins of variance 1/4 against a ridge of 1: each coefficient shrinks by about 0.1%.
    assert torch.allclose(found, torch.tensor([1.0, -2, 3, 0]).double(), rtol=0, atol=0.01)
    assert not torch.allclose(found, torch.tensor([1.0, -2, 3, 0]).double(), rtol=0, atol=1e-4)


def libraries_own(model, image, target, samples):
    from lime.lime_image import LimeImageExplainer

    np.random.seed(5)
    explanation = LimeImageExplainer().explain_instance(
        image[0].permute(1, 2, 0).numpy(),
        lambda batch: model(torch.from_numpy(batch).permute(0, 3, 1, 2)).detach().numpy(),
        labels=(target,),
        top_labels=None,
        num_samples=samples,
    )
    weights = dict(explanation.local_exp[target])
    return np.vectorize(weights.get)(explanation.segments)


def picture():
    image = torch.zeros(1, 3, 30, 30).double()
    image[0, 0, :15], image[0, 1, :, 15:], image[0, 2, 10:20, 10:20] = 1, 0.7, 1
    return image


def test_the_defaults_are_the_librarys_own(capsys):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2700, 3)).double()
    image = picture()
    maps = seeded({"samples": 60}, model, image, torch.tensor([1]))
    assert capsys.readouterr() == ("", "")
    expected = libraries_own(model, image, 1, 60)
    assert len(np.unique(expected)) > 3
    assert np.allclose(maps[0, 0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("segments", ["quickshift", "slic", "grid"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_superpixels_are_numbered_from_zero_without_gaps(segments, channels):
    image = picture()[:, [0, 1, 2, 0, 1][:channels], :, :20]
    numbers = superpixels(image, segments, 3)
    assert numbers.shape == (30, 20)
    assert np.array_equal(np.unique(numbers), np.arange(numbers.max() + 1))
    assert numbers.max() > 0
    if segments == "grid":
        assert np.array_equal(numbers, blocks(3, 30, 20))


def test_slic_finds_about_as_many_as_asked_for():
    places = torch.linspace(0, 1, 60)
    image = torch.stack([places.expand(60, 60), places.expand(60, 60).T, 0 * places.expand(60, 60)])
    assert 13 <= superpixels(image[None], "slic", 5).max() + 1 <= 37


@pytest.mark.parametrize("scale, shift", [(4.0, -2.0), (255.0, 0.0)])
@pytest.mark.parametrize("segments", ["quickshift", "slic"])
def test_colours_of_any_range_are_seen(segments, scale, shift):
    assert np.array_equal(
        superpixels(picture() * scale + shift, segments, 4), superpixels(picture(), segments, 4)
    )


def test_constant_images_have_a_finite_map():
    image = torch.full((1, 3, 6, 5), -3.0)
    for segments in ("quickshift", "slic", "grid"):
        maps = seeded({"samples": 20, "segments": segments}, network(dtype=torch.float32), image,
                      torch.tensor([0]))  # fmt: skip
        assert torch.isfinite(maps).all()


def test_images_share_their_draws_and_the_seed_matters():
    model, images, targets = network(), images_of(), torch.tensor([0, 1, 2])
    options = {"samples": 30, "segments": "grid"}
    together = seeded(options, model, images, targets)
    alone = seeded(options, model, images[2:], targets[2:])
    assert torch.allclose(alone, together[2:], rtol=0, atol=1e-12)
    assert not torch.allclose(seeded(options, model, images, targets, seed=6), together)


def test_each_image_has_its_own_row_of_the_baseline():
    model, images, targets = network(), images_of(), torch.tensor([0, 1, 2])
    options = {"samples": 30, "segments": "grid", "hidden": "baseline"}
    rows = seeded(options, model, images, targets, baseline=images.flip(2))
    alone = seeded(options, model, images[1:2], targets[1:2], baseline=images.flip(2)[1:2])
    assert torch.allclose(rows[1:2], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cost_dtype_and_progress_bar(dtype, capsys):
    model, images = network(dtype=dtype), images_of(2, dtype=dtype)
    spent = []
    model.register_forward_hook(lambda _, inputs, __: spent.append(len(inputs[0])))
    kept = images.clone()
    maps = seeded({"samples": 30}, model, images, torch.tensor([0, 1]))
    assert sum(spent) == 60
    assert ENTRY.traits({"samples": 30}, library="").cost == "30 forward"
    assert maps.dtype == dtype
    assert torch.equal(images, kept)
    assert capsys.readouterr() == ("", "")
    assert sys.modules["lime.lime_image"].tqdm is not iter


@pytest.mark.parametrize(
    "options, message",
    [
        ({"samples": 1}, "samples: got 1, expected an integer >= 2"),
        (
            {"segments": "squares"},
            "segments: got 'squares', expected one of quickshift, slic, grid",
        ),
        ({"per_side": 0}, "per_side: got 0, expected an integer >= 1"),
        ({"hidden": None}, "hidden: got None, expected one of mean, zero, baseline"),
        ({"kernel_width": 0}, "kernel_width: got 0.0, expected a number > 0"),
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
    options = {"samples": 16, "segments": "grid", "per_side": 2}
    given = images_of(2), torch.tensor([0, 1])
    assert torch.equal(
        seeded(options, Viewing(network()), *given), seeded(options, network(), *given)
    )
