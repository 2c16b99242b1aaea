"""LIME against linear models of presence, whose coefficients are known."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument, MissingDependency, NotApplicable
from pytest_xai.explainers.adapting import passes
from pytest_xai.explainers.captum.features import features_of, superpixels


class Additive(nn.Module):
    """Class 1 is a sum over values: linear in which features are shown."""

    def forward(self, inputs):
        flat = inputs.flatten(1)
        return torch.stack([flat.sum(1), (flat**2 + flat.sin()).sum(1)], 1)


def explain(model, inputs, *, baseline=None, seed=0, **options):
    torch.manual_seed(seed)
    baseline = torch.zeros_like(inputs[:1]) if baseline is None else baseline
    targets = torch.ones(len(inputs), dtype=torch.long)
    return explainers.get("captum:Lime", **options).call(model, inputs, targets, baseline=baseline)


def coefficients(inputs, baseline, features):
    gains = inputs**2 + inputs.sin() - baseline**2 - baseline.sin()
    maps = torch.zeros_like(gains)
    for number in features.unique():
        here = (features == number).expand_as(gains)
        total = (gains * here).flatten(1).sum(1).reshape(-1, *(1,) * (gains.ndim - 1))
        maps = total.expand_as(maps).where(here, maps)
    return maps


@pytest.mark.parametrize("shape", [(4,), (2, 10), (3, 6, 5), (2, 4, 3, 5)])
@pytest.mark.parametrize("rows", [1, 2])
def test_additive_functions_in_blocks(shape, rows):
    torch.manual_seed(0)
    inputs, baseline = torch.randn(2, 2, *shape).double()
    baseline = baseline[:rows]
    maps = explain(Additive(), inputs, baseline=baseline, blocks=2, samples=40)
    expected = coefficients(inputs, baseline, features_of(inputs, 2))
    assert maps.shape == (inputs.shape if len(shape) == 1 else (2, 1, *shape[1:]))
    assert maps.dtype == torch.float64
    assert torch.allclose(maps.expand_as(inputs), expected, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_superpixels(channels):
    """Images of four quarters, between others and the other way round."""
    inputs = torch.zeros(2, channels, 12, 12).double()
    inputs[:, :, :6, :7], inputs[:, :, 6:, :5], inputs[:, :, 6:, 5:] = 0.4, 0.7, 1.0
    inputs[1] = inputs[1].flip(-1) * 3
    maps = explain(Additive(), inputs, features="superpixels", segments=6, samples=60)
    for index in range(2):
        image = inputs[index : index + 1]
        expected = coefficients(image, torch.zeros_like(image), superpixels(image, 6))
        assert torch.allclose(maps[index : index + 1].expand_as(image), expected, atol=1e-3)
    assert len(maps[0].unique()) >= 4


def test_lasso_shrinks():
    """With weights of one and bits in {0, 1} Lasso takes alpha / (variance of a bit) = 4 alpha."""
    weights = torch.tensor([[0.0] * 4, [1.0, -2.0, 3.0, 0.0]])
    model = nn.Linear(4, 2, bias=False)
    model.weight.data.copy_(weights)
    options = {"samples": 1000, "kernel_width": 1e4}
    plain = explain(model, torch.ones(1, 4), **options)
    shrunk = explain(model, torch.ones(1, 4), alpha=0.01, **options)
    assert torch.allclose(plain, weights[1:], atol=1e-4)
    expected = weights[1] - 0.04 * weights[1].sign()
    assert torch.allclose(shrunk, expected[None], atol=0.01)
    assert not explain(model, torch.ones(1, 4), alpha=10.0, **options).any()


def test_width_of_the_kernel():
    """Weighted least squares written out, on the draws of the first image."""

    class Product(nn.Module):
        def forward(self, inputs):
            return torch.stack([inputs[:, 0], inputs[:, 0] * inputs[:, 1] + inputs[:, 2]], 1)

    inputs, samples, width = torch.tensor([[1.0, 2.0, 3.0]]), 30, 0.2
    torch.manual_seed(0)
    bits = torch.cat([torch.bernoulli(torch.full((1, 3), 0.5)) for _ in range(samples)])
    shown = bits * inputs
    distance = 1 - torch.cosine_similarity(shown, inputs.expand_as(shown)).double().numpy()
    weight = np.sqrt(np.exp(-(distance**2) / (2 * width**2)))[:, None]
    design = np.concatenate([bits.numpy(), np.ones((samples, 1))], 1)
    outputs = Product()(shown)[:, 1:].numpy()
    solution = np.linalg.lstsq(weight * design, weight * outputs, rcond=None)[0][:3, 0]
    maps = explain(Product(), inputs, samples=samples, kernel_width=width)
    assert np.allclose(maps[0].numpy(), solution, atol=1e-3)
    wide = explain(Product(), inputs, samples=samples)
    assert not torch.allclose(maps, wide, atol=1e-2)


def test_same_draws_for_every_image():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    inputs = torch.ones(1, 4)
    twice = explain(model, inputs.repeat(2, 1), samples=9)
    assert torch.equal(twice[0], twice[1])
    assert torch.equal(explain(model, inputs, samples=9)[0], twice[0])
    assert not torch.equal(explain(model, inputs, samples=9, seed=1)[0], twice[0])


def test_passes_of_bounded_size(monkeypatch):
    model, sizes = Additive(), []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    monkeypatch.setattr(passes, "_VALUES", 6 * 4)
    explain(model, torch.ones(2, 4), samples=15)
    assert sizes == [6, 6, 3] * 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"samples": 1}, "samples: got 1"),
        ({"alpha": -1.0}, "alpha: got -1.0, expected a number >= 0"),
        ({"kernel_width": 0.0}, "kernel_width: got 0, expected a width above 0"),
        ({"features": "pixels"}, "features: got 'pixels', expected one of blocks, superpixels"),
        ({"blocks": 0}, "blocks: got 0"),
        ({"segments": 1}, "segments: got 1"),
    ],
)
def test_options(options, message):
    with pytest.raises(InvalidArgument, match=message):
        explainers.get("captum:Lime", **options)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 4, 4, 4)])
def test_superpixels_are_of_images(shape):
    with pytest.raises(NotApplicable, match="images only; use features='blocks'"):
        explain(Additive(), torch.ones(1, *shape), features="superpixels")


@pytest.mark.parametrize(
    "package, spec, options, extra",
    [
        ("sklearn", "captum:Lime", {}, "captum"),
        ("sklearn", "captum:KernelShap", {}, "captum"),
        ("skimage", "captum:Lime", {"features": "superpixels"}, "lime"),
    ],
)
def test_what_to_install(package, spec, options, extra, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    image = torch.ones(1, 1, 4, 4)
    with pytest.raises(MissingDependency, match=rf'pip install "pytest-xai\[{extra}\]"'):
        explainers.get(spec, **options).call(
            Additive(), image, torch.tensor([1]), baseline=torch.zeros_like(image)
        )
