"""Small networks and inputs to attack, and every attack with options that keep it short."""

from functools import partial

import pytest
import torch
from torch import nn

from pytest_xai import Subject, attacks
from pytest_xai.bench.bench import Bench


def make_network(classes=3, *, dtype=torch.float32):
    """Tanh after a convolution, for images of one channel and 6 x 6 pixels."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, classes)).to(
        dtype
    )


def make_linear(classes=3, *, features=36, dtype=torch.float64):
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes)).to(dtype)


def make_plane(*, low=0.0, high=1.0):
    """A linear model of two classes whose boundary goes nearly through the middle of the box."""
    model = make_linear(2)
    with torch.no_grad():
        model[1].weight.div_(high - low)
        middle = model[1].weight.sum(1) * (low + high) / 2
        model[1].bias.copy_(torch.tensor([0.05, -0.05]) - middle)
    return model


def make_images(count=6, *, dtype=torch.float32, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(count, 1, 6, 6, generator=generator, dtype=torch.float64)
    return (low + (high - low) * drawn).to(dtype).clamp(low, high)


def put_up(model=None, inputs=None, **options):
    options = {"bounds": (0.0, 1.0), **options}
    return Bench(
        Subject(
            make_network() if model is None else model,
            make_images() if inputs is None else inputs,
            **options,
        )
    )


def measure(model, inputs, targets, order=2):
    """Distance to the nearest boundary of a linear model, (n,), in the L2 or the maximum norm."""
    weight = model[1].weight.detach()
    found = []
    for logits, target in zip(model(inputs).detach(), targets.tolist(), strict=True):
        others = [k for k in range(len(weight)) if k != target]
        steepness = (weight[target] - weight[others]).norm(p=2 if order == 2 else 1, dim=1)
        found.append(((logits[target] - logits[others]) / steepness).min())
    return torch.stack(found)


# What needs the gradient of the model, and what does not.
BY_GRADIENT = {
    "fgsm": partial(attacks.fgsm, epsilon=0.3),
    "ifgsm": partial(attacks.ifgsm, epsilon=0.3, steps=3),
    "pgd": partial(attacks.pgd, epsilon=0.3, steps=3),
    "pgd L2": partial(attacks.pgd, epsilon=0.3, norm="L2", steps=3),
    "deepfool": attacks.deepfool,
    "deepfool Linf": partial(attacks.deepfool, norm="Linf"),
    "carlini_wagner": partial(attacks.carlini_wagner, steps=10, searches=2),
    "lbfgs": partial(attacks.lbfgs, searches=2, iterations=4),
    "jsma": partial(attacks.jsma, share=0.9),
}
BY_SCORE = {
    "one_pixel": partial(attacks.one_pixel, population=10, generations=3),
    "nes": partial(attacks.nes, epsilon=0.3, steps=3, samples=10),
    "zoo": partial(attacks.zoo, steps=6, coordinates=6, searches=2),
    "hop_skip_jump": partial(attacks.hop_skip_jump, steps=1, draws=5),
}


def pytest_generate_tests(metafunc):
    """A test runs with every attack of the kind that it names."""
    kinds = {
        "attack": BY_GRADIENT | BY_SCORE,
        "attack_by_gradient": BY_GRADIENT,
        "attack_by_score": BY_SCORE,
    }
    for name, table in kinds.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, table.values(), ids=table)


@pytest.fixture
def network():
    return make_network


@pytest.fixture
def linear():
    return make_linear


@pytest.fixture
def plane():
    return make_plane


@pytest.fixture
def images():
    return make_images


@pytest.fixture
def bench_of():
    return put_up


@pytest.fixture
def distances():
    return measure


@pytest.fixture
def lying(monkeypatch):
    """Attacks return what ``change`` makes of a copy of the inputs."""

    def lie(change):
        monkeypatch.setattr(
            "pytest_xai.attacks.verified.carry_out",
            lambda chunk, name, attack: change(chunk.inputs.clone()),
        )

    return lie
