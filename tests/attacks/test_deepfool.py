"""DeepFool against closed forms, foolbox's own, and what it may cost."""

from itertools import pairwise

import foolbox
import pytest
import torch
from torch import nn

from pytest_xai.attacks import deepfool, fgsm
from pytest_xai.bench.bench import Bench
from pytest_xai.subjects.digits import load_digits

NORMS = {"L2": 2.0, "Linf": torch.inf}


@pytest.fixture
def by_foolbox():
    """What foolbox's DeepFool makes of a bench's inputs."""

    def run(bench, norm, **options):
        attack = getattr(foolbox.attacks, f"{norm}DeepFoolAttack")(**options)
        model = foolbox.PyTorchModel(bench.subject.model, bounds=bench.bounds)
        return attack(model, bench.inputs, bench.targets, epsilons=None)[1]

    return run


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 9])
def test_a_linear_model_s_nearest_boundary_is_reached(
    classes, norm, linear, images, bench_of, distances
):
    """The distance to class k is (f_c - f_k) / |w_c - w_k| in the dual norm; 2 % further."""
    model = linear(classes)
    bench = bench_of(model, images(dtype=torch.float64), bounds=(-1.0, 2.0))
    found = deepfool(bench, norm=norm)
    expected = distances(model, bench.inputs, bench.targets, NORMS[norm])
    # 1e-4 of the range is added to the distance, so that one step ends beyond the boundary.
    assert torch.allclose(found.size, 1.02 * (expected + 3e-4), rtol=1e-6)
    assert found.norm == NORMS[norm]
    assert found.flipped.all()
    assert found.correct.all()
    assert found.within.all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("options", [{}, {"steps": 2}, {"candidates": 2}], ids=str)
def test_it_is_foolbox_s_up_to_rounding(norm, options, network, images, bench_of, by_foolbox):
    bench = bench_of(network(5, dtype=torch.float64), images(20, dtype=torch.float64))
    found = deepfool(bench, norm=norm, **options)
    assert torch.allclose(found.inputs, by_foolbox(bench, norm, **options), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_foolbox_s_on_the_digits(norm, by_foolbox):
    bench = Bench(load_digits(32))
    found = deepfool(bench, norm=norm)
    assert found.flipped.double().mean() > 0.9
    assert torch.allclose(found.inputs, by_foolbox(bench, norm), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_the_unit_of_the_inputs_makes_no_difference(norm, network, images, bench_of):
    class Scaled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, inputs):
            return self.inner((inputs - 100) / 200)

    model = network(dtype=torch.float64)
    inputs = images(dtype=torch.float64)
    found = deepfool(bench_of(model, inputs, name="same"), norm=norm)
    scaled = bench_of(Scaled(model), 100 + 200 * inputs, bounds=(100, 300), name="same")
    assert torch.allclose(deepfool(scaled, norm=norm).inputs, 100 + 200 * found.inputs, atol=1e-4)


def test_an_image_that_the_model_gets_wrong_stays(network, bench_of, images):
    model = network()
    found = deepfool(bench_of(model, targets=(model(images()).argmax(1) + 1) % 3))
    assert (found.size == 0).all()
    assert not found.correct.any()


def test_it_is_smaller_than_the_gradient_step_that_flips(bench_of):
    bench = bench_of()
    one_step, nearest = fgsm(bench, epsilon=0.5), deepfool(bench)
    both = one_step.flipped & nearest.flipped
    assert both.any()
    step = (one_step.inputs - bench.inputs).double().flatten(1).norm(dim=1)
    assert (nearest.size < step)[both].all()


class Recorder(nn.Module):
    """Records the sizes of the batches that go through a model with and without a graph."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.sizes = []

    def forward(self, inputs):
        self.sizes.append(len(inputs))
        return self.inner(inputs)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_it_costs_little_more_than_its_steps_need(classes, network, images, bench_of):
    """A step needs one forward and, with k classes looked at, k - 1 backwards."""
    model = Recorder(network(classes))
    bench = bench_of(model, images(32))
    bench.predictions()
    spent = bench.counter.spent
    # Steps of each image: more of them change the result up to there.
    fresh = bench_of(model.inner, images(32))
    made = [deepfool(fresh, steps=steps).inputs for steps in range(1, 12)]
    taken = 1 + sum((a != b).flatten(1).any(1) for a, b in pairwise(made))
    needed = int(taken.sum()) * classes
    found = deepfool(bench)
    assert found.flipped.all()
    assert (taken > 1).any()
    last = len(bench)  # the look at the result is not the attack's
    paid = bench.counter.spent
    cost = paid.forward - spent.forward + paid.backward - spent.backward - last
    assert needed < cost <= 1.5 * needed


def test_an_image_that_is_there_takes_no_part_in_what_follows(network, images, bench_of):
    model = Recorder(network())
    bench = bench_of(model, images(32))
    bench.predictions()
    model.sizes.clear()
    deepfool(bench)
    steps = model.sizes[:-1]
    assert steps[0] == 32
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < 16


def test_only_the_likeliest_candidates_are_looked_at(linear, images, bench_of):
    model = linear(12)
    with torch.no_grad():
        # The last of the classes is far from the likeliest, but its boundary is the nearest.
        model[1].weight[:11].mul_(0.05)
        model[1].bias[:11] = torch.linspace(2, 0, 11)
        model[1].bias[11] = 0.5 - model[1].weight[11].sum() / 2
    bench = bench_of(model, images(dtype=torch.float64), bounds=(-9.0, 9.0))
    found = deepfool(bench, candidates=3)
    nearest = deepfool(bench, candidates=12)
    second_and_third = bench.logits().argsort(1, descending=True)[:, 1:3]
    assert (found.predicted[:, None] == second_and_third).any(1).all()
    assert (nearest.predicted == 11).all()
    assert (nearest.size < found.size).all()


def test_a_flat_network_is_left_alone(bench_of, images):
    class Flat(nn.Module):
        def forward(self, inputs):
            rows = inputs.flatten(1).sum(1, keepdim=True)
            return torch.cat([1 + 0 * rows, 0 * rows], 1)

    bench = bench_of(Flat())
    found = deepfool(bench, steps=3)
    assert not found.flipped.any()
    assert torch.equal(found.inputs, bench.inputs)
