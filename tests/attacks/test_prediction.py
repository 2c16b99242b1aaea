"""Attacks with a budget along the gradient against their formulas and closed forms."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_xai.attacks import fgsm, ifgsm, pgd

DTYPES = [torch.float32, torch.float64]


def slope(model, inputs, targets):
    inputs = inputs.clone().requires_grad_()
    loss = functional.cross_entropy(model(inputs), targets, reduction="sum")
    return torch.autograd.grad(loss, inputs)[0]


def stepped(model, inputs, targets, step, bounds):
    """The fast gradient sign method in its own words."""
    return (inputs + step * slope(model, inputs, targets).sign()).clamp(*bounds)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 3.0)])
def test_fgsm_is_one_step_along_the_sign_of_the_gradient(bounds, dtype, network, images, bench_of):
    model = network(dtype=dtype)
    inputs = images(dtype=dtype)
    bench = bench_of(model, inputs, targets=[0, 1, 2, 0, 1, 2], bounds=bounds)
    found = fgsm(bench, epsilon=0.1)
    step = 0.1 * (bounds[1] - bounds[0])
    expected = stepped(model, bench.inputs, bench.targets, step, bounds)
    assert torch.equal(found.inputs, expected)
    assert found.within.all()
    assert torch.allclose(found.size, (expected - bench.inputs).double().abs().flatten(1).amax(1))


def test_without_bounds_the_range_of_the_inputs_is_kept(images, bench_of):
    inputs = images(low=-2.0, high=5.0)
    bench = bench_of(inputs=inputs, bounds=None)
    low, high = float(inputs.min()), float(inputs.max())
    found = fgsm(bench, epsilon=0.1)
    expected = stepped(
        bench.subject.model, bench.inputs, bench.targets, 0.1 * (high - low), (low, high)
    )
    assert torch.equal(found.inputs, expected)
    assert found.inputs.min() == low
    assert found.inputs.max() == high


@pytest.mark.parametrize("attack_of", [fgsm, ifgsm])
def test_the_loss_of_the_target_rises_not_that_of_the_prediction(
    attack_of, network, images, bench_of
):
    model = network()
    bench = bench_of(model, targets=(model(images()).argmax(1) + 1) % 3)
    found = attack_of(bench, epsilon=1e-3)
    before, after = model(bench.inputs), model(found.inputs)
    losses = [functional.cross_entropy(z, bench.targets, reduction="none") for z in (before, after)]
    assert (losses[1] > losses[0]).all()
    assert not found.correct.any()


def test_a_larger_budget_is_another_attack(bench_of):
    bench = bench_of()
    small, large = fgsm(bench, epsilon=0.01), fgsm(bench, epsilon=0.2)
    assert small.size.max() < 0.0101
    assert large.size.min() > 0.19
    assert torch.equal(fgsm(bench, epsilon=0.01).inputs, small.inputs)


def test_fgsm_of_a_single_logit_is_that_of_two(bench_of):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 1))
    bench = bench_of(model)

    def two(inputs):
        return torch.cat([torch.zeros(len(inputs), 1), model(inputs)], 1)

    labels = (model(bench.inputs)[:, 0] > 0).long()
    expected = stepped(two, bench.inputs, labels, 0.1, (0.0, 1.0))
    assert torch.equal(fgsm(bench, epsilon=0.1).inputs, expected)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_ifgsm_is_small_steps_kept_in_the_ball(steps, network, images, bench_of):
    bench = bench_of(network(dtype=torch.float64), images(dtype=torch.float64))
    found = ifgsm(bench, epsilon=0.1, steps=steps)
    moved = bench.inputs
    for _ in range(steps):
        moved = stepped(bench.subject.model, moved, bench.targets, 0.2 / steps, (0.0, 1.0))
        moved = moved.clamp(bench.inputs - 0.1, bench.inputs + 0.1)
    assert torch.allclose(found.inputs, moved, rtol=0, atol=1e-12)


def test_more_steps_lead_more_images_astray(network, images, bench_of):
    bench = bench_of(network(10), images(32))
    assert ifgsm(bench, epsilon=0.1).flipped.sum() >= fgsm(bench, epsilon=0.1).flipped.sum()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_pgd_finds_the_worst_of_the_ball_on_a_linear_model(norm, linear, images, bench_of):
    """It is the corner, or point of the sphere, that the difference of the weights points to."""
    model = linear(2)
    bench = bench_of(model, images(dtype=torch.float64), bounds=(-4.0, 4.0))
    found = pgd(bench, epsilon=0.01, norm=norm, steps=60)
    weight = model[1].weight.detach()
    away = (weight[1 - bench.targets] - weight[bench.targets]).reshape(bench.inputs.shape)
    gained = ((found.inputs - bench.inputs) * away).flatten(1).sum(1)
    if norm == "Linf":
        most = 0.08 * away.flatten(1).abs().sum(1)
    else:  # 36 elements, each as far as the maximum norm would let it go
        most = 0.08 * 6 * away.flatten(1).norm(dim=1)
    assert (gained > 0.95 * most).all()
    assert (gained <= most * (1 + 1e-6)).all()
    assert found.within.all()
    assert (found.size > 0.99 * found.size.max()).all()


def test_pgd_starts_anywhere_in_the_ball(images, bench_of):
    """A model without slope leaves it where it starts."""

    class Flat(nn.Module):
        def forward(self, inputs):
            rows = inputs.flatten(1).sum(1, keepdim=True)
            return torch.cat([1 + 0 * rows, 0 * rows], 1)

    bench = bench_of(Flat(), images(low=0.3, high=0.7))
    delta = (pgd(bench, epsilon=0.1, steps=1).inputs - bench.inputs).flatten()
    assert delta.unique().numel() > 200
    assert -0.1 <= delta.min() < -0.095
    assert 0.095 < delta.max() <= 0.1


def test_another_seed_starts_elsewhere(network, images):
    from pytest_xai import Bench, Subject

    subject = Subject(network(), images(), bounds=(0.0, 1.0))
    starts = {
        seed: pgd(Bench(subject, seed=seed), epsilon=0.1, steps=1).inputs.sort(0).values
        for seed in (1, 2)
    }
    assert not torch.equal(starts[1], starts[2])
