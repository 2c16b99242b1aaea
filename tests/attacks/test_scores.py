"""NES and ZOO: what they estimate against autograd, and what they make of it."""

import pytest
import torch

from pytest_xai.attacks import ifgsm, nes, zoo
from pytest_xai.attacks.nes import estimated_slopes as drawn_slopes
from pytest_xai.attacks.victim import Victim, margin
from pytest_xai.attacks.zoo_attack import _Adam
from pytest_xai.attacks.zoo_attack import estimated_slopes as measured_slopes


@pytest.fixture
def victim_of(network, images):
    """A victim of three images, and the gradients of its margins by autograd."""

    def make(low=0.0, high=1.0):
        model = network(dtype=torch.float64)
        inputs = images(3, dtype=torch.float64, low=low, high=high)
        victim = Victim(
            network=model,
            inputs=inputs,
            labels=model(inputs).argmax(1),
            bounds=(low, high),
            generators=[torch.Generator().manual_seed(row) for row in range(3)],
            batch=512,
        )
        points = inputs.clone().requires_grad_()
        margins = margin(model(points), victim.labels)
        assert (margins > 0).all()
        return victim, torch.autograd.grad(margins.sum(), points)[0]

    return make


def test_the_margin_is_the_label_s_logit_less_the_highest_other():
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [-1.0, -1.0, -5.0]])
    assert margin(logits, torch.tensor([0, 1, 0])).tolist() == [1, -2, 0]


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-3.0, 5.0)], ids=str)
def test_nes_estimates_the_gradient_of_the_margin(bounds, victim_of):
    victim, gradient = victim_of(*bounds)
    rows = torch.tensor([2, 0])
    found = drawn_slopes(victim, victim.inputs, rows, 3000).flatten(1)
    expected = gradient[rows].flatten(1)
    # Of 36 elements from 3000 pairs: the error has 1 / sqrt(3000 / 36) of the length.
    assert torch.allclose(found.norm(dim=1), expected.norm(dim=1), rtol=0.05)
    assert (torch.cosine_similarity(found, expected) > 0.98).all()


def test_an_image_s_draws_do_not_depend_on_the_others(victim_of):
    slopes = [
        drawn_slopes(victim_of()[0], victim_of()[0].inputs, rows, 5)[-1]
        for rows in (torch.tensor([2]), torch.tensor([0, 1, 2]))
    ]
    assert torch.allclose(*slopes, rtol=1e-6)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-3.0, 5.0)], ids=str)
def test_zoo_measures_the_gradient_of_the_margin(bounds, victim_of):
    victim, gradient = victim_of(*bounds)
    places = torch.tensor([[0, 35, 7], [3, 4, 5], [20, 19, 1]])
    found = measured_slopes(victim, victim.inputs.flatten(1), places)
    expected = gradient.flatten(1).gather(1, places) * (bounds[1] - bounds[0])
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_zoo_stays_within_the_bounds_for_it(victim_of):
    victim, _ = victim_of()
    seen = []
    victim.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rows = victim.inputs.flatten(1).clone()
    rows[:, 0], rows[:, 1] = 0.0, 1.0
    places = torch.tensor([[0, 1]] * 3)
    assert (measured_slopes(victim, rows, places) != 0).all()
    assert all(((points >= 0) & (points <= 1)).all() for points in seen)


def test_zoo_has_no_slope_once_the_label_is_not_predicted(victim_of):
    victim, _ = victim_of()
    rows = victim.inputs.flatten(1)
    others = Victim(
        network=victim.network,
        inputs=victim.inputs,
        labels=(victim.labels + 1) % 3,
        bounds=victim.bounds,
        generators=victim.generators,
        batch=8,
    )
    places = torch.tensor([[0, 1]] * 3)
    assert (measured_slopes(others, rows, places) == 0).all()


def test_adam_is_that_of_its_paper_where_all_coordinates_move():
    generator = torch.Generator().manual_seed(0)
    slopes = torch.randn(6, 2, 5, generator=generator, dtype=torch.float64)
    adam = _Adam(slopes[0])
    everything = torch.arange(5).expand(2, 5)
    for step in range(1, 7):
        moves = adam.moves(everything, slopes[step - 1])
        ages = torch.arange(step - 1, -1, -1, dtype=torch.float64).reshape(-1, 1, 1)
        mean, square = (
            ((1 - decay) * decay**ages * slopes[:step] ** power).sum(0) / (1 - decay**step)
            for decay, power in ((0.9, 1), (0.999, 2))
        )
        assert torch.allclose(moves, 0.05 * mean / (square.sqrt() + 1e-8), rtol=1e-9)


def test_adam_counts_the_steps_of_every_coordinate_on_its_own():
    adam = _Adam(torch.zeros(1, 3, dtype=torch.float64))
    one = torch.tensor([[2.0]], dtype=torch.float64)
    first = adam.moves(torch.tensor([[0]]), one)
    adam.moves(torch.tensor([[0]]), -one)
    # The first step of a coordinate is of one length, whatever the slope, and whenever it is.
    assert torch.allclose(adam.moves(torch.tensor([[2]]), 50 * one), first, rtol=1e-6)
    assert adam.steps.tolist() == [[2, 0, 1]]


# -------------------------------------------------------------------------------- the attacks


def test_nes_comes_near_to_what_gradients_find(network, images, bench_of):
    bench = bench_of(network(5), images(32))
    by_gradient, by_score = ifgsm(bench, epsilon=0.15), nes(bench, epsilon=0.15)
    assert 0.3 < by_gradient.flipped.double().mean() < 1
    assert by_score.flipped.sum() >= 0.8 * by_gradient.flipped.sum()
    assert by_score.within.all()


def test_nes_ends_where_the_prediction_has_changed(network, images, bench_of):
    bench = bench_of(network(), images(16))
    found = nes(bench, epsilon=0.5, steps=10, samples=20)
    assert found.flipped.all()
    # Not all of the budget was used, nor all of the evaluations.
    assert found.size.min() < 0.45
    assert bench.counter.spent.forward < 16 * 10 * 20


def test_nes_draws_in_mirrored_pairs(bench_of):
    bench = bench_of()
    spent = bench.counter.spent.forward
    nes(bench, epsilon=1e-6, steps=3, samples=9)
    # Three looks at whether it is done, three steps of four pairs; predictions before and after.
    assert bench.counter.spent.forward - spent == len(bench) * (3 * (1 + 8) + 2)


def test_more_steps_of_zoo_come_nearer(plane, images, bench_of, distances):
    model = plane()
    bench = bench_of(model, images(6, dtype=torch.float64))
    few, many = (zoo(bench, steps=steps, searches=4, coordinates=18) for steps in (15, 80))
    assert many.flipped.all()
    assert many.size.sum() < few.size[few.flipped].sum() + 10 * (~few.flipped).sum()
    assert (many.size < 1.3 * distances(model, bench.inputs, bench.targets)).all()


def test_zoo_costs_two_evaluations_a_coordinate_and_a_look_a_step(bench_of):
    bench = bench_of()
    bench.predictions()
    spent = bench.counter.spent.forward
    zoo(bench, steps=4, coordinates=5, searches=2)
    assert bench.counter.spent.forward - spent == len(bench) * (2 * 4 * (2 * 5 + 1) + 1)
