"""PGD, Carlini-Wagner and DeepFool on a GPU, on the networks that people use; tiny on the CPU."""

import time

import pytest
import torch
from torch import nn

from pytest_xai import Bench, Subject
from pytest_xai.attacks import carlini_wagner, deepfool, pgd

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

ATTACKS = {
    "pgd": lambda bench: pgd(bench, epsilon=8 / 255, steps=10),
    "pgd, L2": lambda bench: pgd(bench, epsilon=8 / 255, norm="L2", steps=10),
    "deepfool": lambda bench: deepfool(bench, steps=20),
    "carlini_wagner": lambda bench: carlini_wagner(bench, steps=15, searches=3),
}


class Normalised(nn.Module):
    """A network with its normalisation in front: it takes images from 0 to 1."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1))
        self.register_buffer("spread", torch.tensor(SPREAD).reshape(3, 1, 1))

    def forward(self, inputs):
        return self.network((inputs - self.mean) / self.spread)


def tiny():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10)
    )


def of_torchvision(name):
    from torchvision import models

    return getattr(models, name)(weights=None)


def attack_all(network, *, count, side, device):
    """Every attack verified by hand; prints what each took."""
    torch.manual_seed(0)
    model = Normalised(network()).eval()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(count, 3, side, side, generator=generator)
    bench = Bench(Subject(model, inputs, bounds=(0.0, 1.0), device=device))
    before = bench.predictions()
    for name, attack in ATTACKS.items():
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start, spent = time.perf_counter(), bench.counter.spent
        found = attack(bench)
        seconds, paid = time.perf_counter() - start, bench.counter.spent
        verify(bench, before, found, budget=budget_of(name, bench))
        peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
        print(  # noqa: T201  # the figures of a run by hand: pytest -m gpu -s
            f"{name}: {float(found.flipped.double().mean()):.2f} flipped, mean size "
            f"{float(found.size.mean()):.4f}, {paid.forward - spent.forward} forward, "
            f"{paid.backward - spent.backward} backward, {seconds:.1f} s, {peak:.2f} GiB, {device}"
        )


def budget_of(name, bench):
    elements = bench.inputs[0].numel()
    return {"pgd": 8 / 255, "pgd, L2": 8 / 255 * elements**0.5}.get(name)


def verify(bench, before, found, *, budget):
    assert found.inputs.device == bench.inputs.device
    assert found.within.all()
    assert ((found.inputs >= 0) & (found.inputs <= 1)).all()
    delta = (found.inputs - bench.inputs).double().flatten(1)
    size = torch.linalg.vector_norm(delta, ord=found.norm, dim=1)
    assert torch.allclose(found.size, size)
    if budget is not None:
        assert (size <= budget * (1 + 1e-4)).all()
    # In the batches of the bench: in others the last digits differ.
    with torch.no_grad():
        parts = found.inputs.split(bench.batch_size)
        predicted = torch.cat([bench.subject.model(part).argmax(1) for part in parts])
    assert torch.equal(found.predicted, predicted)
    assert torch.equal(found.flipped, predicted != before)
    assert found.flipped.any()


def test_the_same_on_the_cpu_with_a_tiny_network():
    attack_all(tiny, count=3, side=12, device="cpu")


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "vit_b_16"])
def test_64_images_of_224_pixels(name):
    attack_all(lambda: of_torchvision(name), count=64, side=224, device="cuda")


@pytest.mark.gpu
def test_a_gpu_finds_what_the_cpu_finds():
    found = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = Normalised(tiny()).eval().double()
        inputs = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1)).double()
        bench = Bench(Subject(model, inputs, bounds=(0.0, 1.0), device=device, name="tiny"))
        found[device] = deepfool(bench).inputs.cpu()
    assert torch.allclose(found["cpu"], found["cuda"], atol=1e-6)
