"""The attack on maps of networks as they are used; in full on a GPU, on the CPU with small ones."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient
from pytest_xai.attacks.fooling import fool, keeps_prediction, top_values
from pytest_xai.protocol import named

EPSILON = 8 / 255


def resnet(large):
    if not large:
        return models.resnet18().float()
    from torchvision.models import resnet50

    return resnet50()


def vit(large):
    from torchvision.models import VisionTransformer, vit_b_16

    model = (
        vit_b_16()
        if large
        else VisionTransformer(
            image_size=32,
            patch_size=8,
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            mlp_dim=32,
            num_classes=5,
        )
    )
    nn.init.normal_(model.heads.head.weight, std=0.1)  # it begins with zeros, and no gradient
    return model


def attack_at_scale(make, *, large, images, device):
    """Attack the plain gradient of drawn images; what is promised of every attack holds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make(large).eval()
    side = 224 if large else 32
    inputs = torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(1))
    subject = xai.Subject(model, inputs, bounds=(0, 1), device=device)
    bench = xai.Bench(subject)
    explainer = named(gradient)
    goal = top_values(bench.maps(explainer), bench.targets)
    found = fool(bench, explainer, goal, epsilon=EPSILON, steps=12)
    assert found.way == "through a surrogate: gradient"
    assert found.inputs.device.type == (device or "cpu")
    assert (found.inputs - bench.inputs).abs().max() <= EPSILON + 1e-6
    assert 0 <= found.inputs.min() <= found.inputs.max() <= 1
    assert keeps_prediction(bench, found.inputs).all()
    assert found.moved.all()
    assert found.kept.mean() < 0.9
    bench.close()


@pytest.mark.parametrize("make", [resnet, pytest.param(vit, marks=pytest.mark.slow)])
def test_small_networks_of_the_kind(make):
    attack_at_scale(make, large=False, images=3, device=None)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("make", [resnet, vit])
def test_resnet_50_and_vit_b_16_with_64_images(make):
    attack_at_scale(make, large=True, images=64, device="cuda")
