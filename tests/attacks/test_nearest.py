"""Attacks that seek the nearest change, against the distance that a linear model has."""

import pytest
import torch
from torch import nn

from pytest_xai import Bench, Subject
from pytest_xai.attacks import carlini_wagner, deepfool, hop_skip_jump, lbfgs, zoo
from pytest_xai.errors import NotApplicable

# How much further than the nearest point each may end, with these options.
ATTACKS = {
    "carlini_wagner": (lambda bench: carlini_wagner(bench, steps=100, searches=7), 1.05),
    "lbfgs": (lambda bench: lbfgs(bench, searches=9), 1.05),
    "zoo": (lambda bench: zoo(bench, steps=60, coordinates=36, searches=4), 1.15),
    "hop_skip_jump": (lambda bench: hop_skip_jump(bench, steps=8, draws=100), 1.1),
}
# The same with fewer steps.
QUICK = {
    ATTACKS["carlini_wagner"][0]: lambda bench: carlini_wagner(bench, steps=20, searches=3),
    ATTACKS["lbfgs"][0]: lambda bench: lbfgs(bench, searches=3),
    ATTACKS["zoo"][0]: lambda bench: zoo(bench, steps=20, coordinates=36, searches=2),
    ATTACKS["hop_skip_jump"][0]: lambda bench: hop_skip_jump(bench, steps=2),
}
nearest = pytest.mark.parametrize("attack_of, excess", ATTACKS.values(), ids=ATTACKS)


@pytest.fixture(params=[(0.0, 1.0), pytest.param((-20.0, 80.0), marks=pytest.mark.slow)], ids=str)
def bounds(request):
    return request.param


@nearest
def test_the_distance_to_a_plane_is_found(  # noqa: PLR0917  # fixtures
    attack_of, excess, bounds, plane, images, bench_of, distances
):
    """No box stands in the way; 2 classes, so that there is one boundary."""
    low, high = bounds
    model = plane(low=low, high=high)
    inputs = images(3, dtype=torch.float64, low=0.3 * high + 0.7 * low, high=0.7 * high + 0.3 * low)
    bench = bench_of(model, inputs, bounds=bounds)
    found = attack_of(bench)
    expected = distances(model, bench.inputs, bench.targets)
    assert found.flipped.all()
    assert found.within.all()
    assert (found.size >= expected * (1 - 1e-9)).all()
    assert (found.size <= expected * excess).all()


@nearest
def test_a_model_that_nothing_changes_leaves_the_inputs_as_they_are(attack_of, excess, bench_of):
    class Sure(nn.Module):
        def forward(self, inputs):
            rows = inputs.flatten(1).mean(1, keepdim=True)
            return torch.cat([9 + rows, rows], 1)

    bench = bench_of(Sure())
    found = attack_of(bench)
    assert torch.equal(found.inputs, bench.inputs)
    assert not found.flipped.any()


@nearest
def test_an_image_that_the_model_gets_wrong_stays(attack_of, excess, network, images, bench_of):
    model = network()
    targets = model(images(3)).argmax(1)
    targets[0] = (targets[0] + 1) % 3
    bench = bench_of(model, images(3), targets=targets)
    found = QUICK[attack_of](bench)
    assert found.flipped[found.correct].all()
    # Carlini and Wagner's variables are rounded on their way to and from the hyperbolic tangent.
    assert found.size[~found.correct].item() < 1e-4


BOXED = {
    "lbfgs": lambda bench: lbfgs(bench, searches=9),
    "carlini_wagner": lambda bench: carlini_wagner(bench, steps=70, searches=8),
}


@pytest.mark.parametrize("attack_of", BOXED.values(), ids=BOXED)
def test_the_box_stands_in_the_way(attack_of):
    """Some of the plane's nearest points lie beyond the bounds; by brute force, one within."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 1.0]]))
        model[1].bias.copy_(torch.tensor([0.0, -2.4]))
    inputs = torch.tensor([[0.9, 0.1], [0.5, 0.9], [0.95, 0.05]], dtype=torch.float64)
    bench = Bench(Subject(model, inputs, bounds=(0.0, 1.0)))
    found = attack_of(bench)
    axis = torch.linspace(0, 1, 1001, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    others = grid[model(grid).argmax(1) == 1]
    distance = torch.cdist(bench.inputs, others).amin(1)
    assert found.flipped.all()
    assert found.within.all()
    assert torch.allclose(found.size, distance, rtol=0.03)


def test_lbfgs_is_no_further_than_deepfool_on_a_network(network, images, bench_of):
    """Of two classes: of more, the cross-entropy leads away from all at once."""
    bench = bench_of(network(2, dtype=torch.float64), images(3, dtype=torch.float64))
    found, linearised = lbfgs(bench, searches=10), deepfool(bench)
    assert found.flipped.all()
    assert (found.size <= 1.01 * linearised.size).all()


def test_more_searches_come_nearer(network, images, bench_of):
    bench = bench_of(network(), images(3))
    few, more = (lbfgs(bench, searches=searches) for searches in (2, 7))
    both = few.flipped & more.flipped
    assert both.any()
    assert (more.size <= few.size)[both].all()
    assert (more.size < few.size)[both].any()


# ------------------------------------------------------------------------------ hop_skip_jump


def test_decisions_are_all_that_hop_skip_jump_sees(network, images, bench_of):
    class Decides(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, inputs):
            return nn.functional.one_hot(self.inner(inputs).argmax(1), 3).float()

    bench = bench_of(Decides(), name="same")
    found = hop_skip_jump(bench, steps=3)
    scores = bench_of(network(), name="same")
    assert torch.equal(found.inputs, hop_skip_jump(scores, steps=3).inputs)
    assert bench.counter.spent.backward == 0


def test_the_steps_of_hop_skip_jump_do_not_shrink_with_the_batch(plane, images, bench_of):
    """foolbox divides directions by norms over the batch: 32 images took a sixth of the step."""
    model = plane()
    inputs = images(32, dtype=torch.float64)
    alone = [
        hop_skip_jump(bench_of(model, inputs[[row]], name="one"), steps=3).size.item()
        for row in range(4)
    ]
    bench = bench_of(model, inputs, name="all")
    together = hop_skip_jump(bench, steps=3).size
    places = [bench.images.index(row) for row in range(4)]
    assert sum(together[places].tolist()) < 1.1 * sum(alone)


def test_hop_skip_jump_needs_a_model_that_decides_alike_when_asked_again(network, bench_of):
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, inputs):
            return self.inner(inputs + 0.3 * torch.randn(inputs.shape))

    with pytest.raises(
        NotApplicable, match="predicts another class when the same input is evaluated again"
    ):
        hop_skip_jump(bench_of(Draws()), steps=2)


def test_a_lone_image_starts_from_noise(network, images, bench_of):
    found = hop_skip_jump(bench_of(network(), images(1)), steps=1)
    assert found.flipped.all()
