"""Attacks on maps: what counts, and how near they come to the worst there is."""

import itertools
import math

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient, input_x_gradient, smooth_gradient
from fixtures.wrong.fooled import pointing
from pytest_xai import explainers
from pytest_xai.attacks.fooling import (
    TOLERANCE,
    fool,
    keeps_prediction,
    mass_centre,
    one_channel,
    target_map,
    top_values,
)
from pytest_xai.attacks.fooling.worst import Ball, Worst, confidence
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits

GOALS = {"top": top_values, "centre": mass_centre, "target": target_map}


def aimed(bench, explainer, goal):
    return goal(bench.maps(explainer), bench.targets)


# ------------------------------------------------------------------------------------------- goals


def test_what_is_kept_of_a_map_by_hand():
    maps = torch.zeros(2, 1, 1, 5)
    maps[0, 0, 0] = torch.tensor([4.0, 1.0, 0.0, 0.0, 3.0])
    maps[1, 0, 0] = torch.tensor([0.0, 2.0, 0.0, 1.0, 0.0])
    moved = maps.flip(-1)
    targets = torch.tensor([0, 1])
    top, centre, target = (goal(maps, targets) for goal in GOALS.values())
    # The largest of five: the first of the one map, the second of the other.
    assert top.kept(moved, top.reference).tolist() == [0.0, 0.0]
    assert top.kept(maps, top.reference).tolist() == [1.0, 1.0]
    assert top.undone.tolist() == [0.0, 0.0]
    # Centres at 13/8 and 5/3 of a length of 4, which flipping takes to 4 less that.
    expected = [1 - (4 - 2 * 13 / 8) / 4, 1 - (4 - 2 * 5 / 3) / 4]
    assert centre.kept(moved, centre.reference).tolist() == pytest.approx(expected)
    assert centre.loss(moved, centre.reference).tolist() == pytest.approx(
        [kept - 1 for kept in expected]
    )
    # Another image's map: nothing is left of the distance where it is reached.
    assert target.kept(maps.flip(0), target.reference).tolist() == [0.0, 0.0]
    assert target.loss(maps.flip(0), target.reference).tolist() == [0.0, 0.0]
    assert target.kept(maps, target.reference)[0] == pytest.approx(1 - 1 / 8)
    assert target.undone.tolist() == [0.0, 0.0]
    # The share of the mass that lies on the largest value; signs count.
    assert top.loss(maps, top.reference).tolist() == pytest.approx([1 / 2, 2 / 3])
    assert top.loss(-maps, top.reference).tolist() == pytest.approx([-1 / 2, -2 / 3])


def test_a_table_has_no_centre():
    with pytest.raises(NotApplicable, match="no centre"):
        mass_centre(torch.rand(2, 5), torch.tensor([0, 1]))


# --------------------------------------------------------------------------------- what counts


@pytest.fixture
def logits_as_inputs(bench_of):
    """A model whose outputs are its inputs: any prediction can be written down."""
    model = models.linear(torch.eye(3, dtype=torch.float64))
    inputs = torch.tensor([[0.5, 0.2, 0.1], [0.1, 0.9, 0.3]], dtype=torch.float64)
    return bench_of(xai.Subject(model, inputs, bounds=(0, 1)))


def test_class_and_confidence_have_to_stay(bench_of):
    model = models.linear(torch.eye(2, dtype=torch.float64))
    inputs = torch.tensor([[1.0, 0.0]] * 6, dtype=torch.float64)
    bench = bench_of(xai.Subject(model, inputs, bounds=(-9, 9)))
    was = 1 / (1 + math.exp(-1))
    margins = [math.log(p / (1 - p)) for p in (was, was - 0.09, was - 0.11, was + 0.09, was + 0.11)]
    moved = torch.tensor([[margin, 0.0] for margin in [*margins, -0.01]], dtype=torch.float64)
    assert TOLERANCE == 0.1
    assert keeps_prediction(bench, moved).tolist() == [True, True, False, True, False, False]
    # The other class, though its confidence is as near as it may be.
    close = bench_of(xai.Subject(model, inputs * 0.02, bounds=(-9, 9)))
    other = torch.tensor([[-0.01, 0.0]] * 6, dtype=torch.float64)
    assert not keeps_prediction(close, other).any()


def test_a_single_logit_is_a_prediction_as_well(bench_of):
    model = models.linear(torch.ones(1, 1, dtype=torch.float64))
    inputs = torch.tensor([[1.0], [-1.0], [0.02]], dtype=torch.float64)
    bench = bench_of(xai.Subject(model, inputs, bounds=(-9, 9)))
    moved = torch.tensor([[1.4], [-3.0], [-0.02]], dtype=torch.float64)
    assert keeps_prediction(bench, moved).tolist() == [True, False, False]
    logits = torch.tensor([[0.0], [2.0]])
    expected = [0.5, 1 / (1 + math.exp(2))]
    assert confidence(logits, torch.tensor([1, 0])).tolist() == pytest.approx(expected)


def test_only_candidates_that_keep_their_word_count(logits_as_inputs):
    bench = logits_as_inputs
    explainer = named(lambda model, inputs, targets: inputs.clone())
    goal = aimed(bench, explainer, target_map)
    ball = Ball.around(bench, 0.1)
    worst = Worst(bench, explainer, goal, ball)
    begun = worst.kept.clone()
    assert torch.equal(worst.inputs, bench.inputs)
    spoilt = [
        bench.inputs + torch.tensor([0.11, 0.0, 0.0]),  # too far
        bench.inputs - torch.tensor([0.0, 0.0, 0.2]),  # too far, and below the bounds
        torch.tensor([[0.45, 0.45001, 0.2], [0.1, 0.9, 0.3]]).double(),  # another class
        torch.full_like(bench.inputs, torch.nan),
    ]
    for candidates in spoilt[:3]:
        counts, _ = worst.offer(candidates)
        assert not counts[0]
    assert not ball.contains(spoilt[3]).any()
    assert worst.kept[0] == begun[0]
    assert torch.equal(worst.inputs[0], bench.inputs[0])
    nearer = ball.project(bench.inputs[[1, 0]])
    counts, losses = worst.offer(nearer)
    seen = one_channel(nearer)
    assert counts.all()
    assert torch.equal(worst.inputs, nearer)
    assert torch.equal(worst.maps, nearer)
    assert torch.equal(worst.kept, goal.kept(seen, goal.reference))
    assert torch.equal(losses, goal.loss(seen, goal.reference))
    worst.offer(bench.inputs)  # not as bad, and forgotten
    assert torch.equal(worst.inputs, nearer)
    assert worst.tries == 5


def test_the_nearest_input_of_a_ball(logits_as_inputs):
    ball = Ball.around(logits_as_inputs, 0.2)
    far = torch.tensor([[9.0, -9.0, 0.15], [0.0, 2.0, 0.3]], dtype=torch.float64)
    nearest = [[0.7, 0.0, 0.15], [0.0, 1.0, 0.3]]
    assert torch.allclose(ball.project(far), torch.tensor(nearest).double())


# ---------------------------------------------------------------------------------------- the worst


def brute_force(bench, goal, epsilon, points=5):
    """The least kept on a grid over the ball, of all points that keep the prediction."""
    steps = torch.linspace(-epsilon, epsilon, points, dtype=torch.float64).tolist()
    changes = torch.tensor(list(itertools.product(steps, repeat=4))).reshape(-1, 1, 1, 2, 2)
    count, images, model = len(changes), len(bench), bench.subject.model
    moved = (bench.inputs + changes).clamp(0, 1).flatten(0, 1)
    with torch.no_grad():
        before, after = model(bench.inputs).softmax(1).repeat(count, 1), model(moved).softmax(1)
    top, own = before.max(1)
    holding = (after.argmax(1) == own) & ((after[range(len(own)), own] - top).abs() <= 0.1)
    maps = gradient(model, moved, bench.targets.repeat(count))
    kept = goal.kept(maps, goal.reference.repeat(count, 1, 1, 1))
    return kept.where(holding, torch.inf).reshape(count, images).amin(0)


@pytest.mark.parametrize("goal", ["centre", "target"])
@pytest.mark.parametrize("gradients", [True, False])
def test_no_grid_finds_much_worse(goal, gradients, tiny, bench_of):
    """All of 625 points: the attack takes off most of what the worst of them takes off.

    The map of a network of bends jumps from one of its pieces to the next, and hides some.
    """
    bench, epsilon, explainer = bench_of(tiny), 0.1, named(gradient)
    aim = aimed(bench, explainer, GOALS[goal])
    whole = aim.kept(one_channel(bench.maps(explainer)), aim.reference)
    least = brute_force(bench, aim, epsilon)
    assert (whole - least).mean() > 0.1
    found = fool(bench, explainer, aim, epsilon=epsilon, gradients=gradients)
    assert (whole - found.kept).mean() > 0.65 * (whole - least).mean()


@pytest.mark.parametrize("gradients", [True, False])
def test_the_plain_gradient_of_digits_can_be_moved(gradients, bench_of):
    """Less is left than after sign noise by more than 0.10, every word kept."""
    bench, explainer = bench_of(load_digits(16)), explainers.get("captum:Saliency")
    found = fool(
        bench, explainer, aimed(bench, explainer, top_values), epsilon=8 / 255, gradients=gradients
    )
    model = bench.subject.model
    with torch.no_grad():
        before, after = model(bench.inputs).softmax(1), model(found.inputs).softmax(1)
    own = before.argmax(1)
    assert torch.equal(after.argmax(1), own)
    assert ((after - before)[range(16), own].abs() <= 0.1 + 1e-6).all()
    assert (found.inputs - bench.inputs).abs().max() <= 8 / 255 + 1e-6
    assert 0 <= found.inputs.min() <= found.inputs.max() <= 1
    again = gradient(model, found.inputs, bench.targets).abs()
    assert torch.allclose(found.maps, again, atol=1e-6)
    assert found.moved.all()
    assert found.kept.mean() < 0.75


def test_the_way_is_told(bench_of):
    bench = bench_of(load_digits(4))
    ways = {
        "captum:Saliency": "through a surrogate: gradient (magnitude)",
        "control:EdgeDetector": "without gradients",
    }
    for spec, way in ways.items():
        explainer = explainers.get(spec)
        found = fool(bench, explainer, aimed(bench, explainer, top_values), epsilon=0.1, steps=4)
        assert found.way == way
        assert found.tries == (1 if "surrogate" in way else 64)
    aim = aimed(bench, named(pointing), top_values)
    found = fool(bench, named(pointing), aim, epsilon=0.1, steps=4)
    assert found.way == "through the explainer's own computation"
    assert (found.likeness == 1).all()


def test_a_map_that_cannot_move_does_not(bench_of):
    """The gradient of a linear model; and the original is what is left."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).eval()
    inputs = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    bench = bench_of(xai.Subject(model, inputs, bounds=(0, 1)))
    explainer = named(gradient)
    for gradients in (True, False):
        aim = aimed(bench, explainer, top_values)
        found = fool(bench, explainer, aim, epsilon=0.1, gradients=gradients)
        assert (found.kept == 1).all()
        assert not found.moved.any()
        assert torch.equal(found.inputs, bench.inputs)


def test_large_images_are_searched_in_cells(bench_of):
    """A weakness to the brightness of a corner, which no noise of single pixels meets."""

    def explain(model, inputs, targets):
        corner = inputs[:, :, :16, :16].mean((1, 2, 3))
        turned = torch.sigmoid(400 * (corner - 0.5))[:, None, None, None]
        ramp = torch.linspace(0, 1, 64).to(inputs).expand(inputs.shape)
        return (turned * ramp + (1 - turned) * ramp.flip(-1)).detach()

    model = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        model[2].weight.mul_(0.1)
    inputs = torch.full((4, 1, 64, 64), 0.49)
    inputs[:, :, 0, 0] = torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None]
    bench = bench_of(xai.Subject(model, inputs, bounds=(0, 1)))
    explainer = named(explain)
    found = fool(bench, explainer, aimed(bench, explainer, top_values), epsilon=0.05)
    assert found.way == "without gradients"
    assert (found.kept == 0).all()
    changes = (found.inputs - bench.inputs)[:, 0, ::4, ::4]
    blocks = changes.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.allclose(found.inputs - bench.inputs, blocks[:, None], atol=1e-6)


def test_the_same_again_and_another_draw_with_another_seed():
    def found(seed, explainer, gradients):
        bench = xai.Bench(load_digits(3), seed=seed)
        aim = aimed(bench, explainer, top_values)
        made = fool(bench, explainer, aim, epsilon=0.1, gradients=gradients, steps=4)
        order = torch.tensor(bench.images).argsort()
        bench.close()
        return made.inputs[order]

    for explainer, gradients in ((named(smooth_gradient), True), (named(gradient), False)):
        torch.rand(3)
        first, again, other = (found(seed, explainer, gradients) for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_stored_maps_cannot_be_attacked(bench_of, tmp_path):
    from safetensors.torch import save_file

    bench = bench_of(load_digits(4))
    path = tmp_path / "maps.safetensors"
    save_file({"maps": bench.subject.inputs.contiguous()}, path)
    explainer = explainers.get("xai:StoredMaps", path=str(path))
    with pytest.raises(NotApplicable, match="stored"):
        fool(bench, explainer, aimed(bench, explainer, top_values), epsilon=0.1)


@pytest.mark.parametrize("option", [{"epsilon": 0.0}, {"epsilon": 0.1, "steps": 3}])
def test_options_have_ranges(option, bench_of):
    bench = bench_of(load_digits(4))
    with pytest.raises(InvalidArgument, match=list(option)[-1]):
        fool(bench, named(gradient), aimed(bench, named(gradient), top_values), **option)


def test_input_x_gradient_of_the_target(bench_of):
    """The map of the explained target is attacked, and the prediction is what is kept."""
    plain = load_digits(8)
    targets = (plain.targets + 1) % 10
    subject = xai.Subject(plain.model, plain.inputs, targets, bounds=(0, 1))
    bench, explainer = bench_of(subject), named(input_x_gradient)
    found = fool(bench, explainer, aimed(bench, explainer, top_values), epsilon=0.1, steps=8)
    with torch.no_grad():
        assert torch.equal(plain.model(found.inputs).argmax(1), plain.model(bench.inputs).argmax(1))
    again = input_x_gradient(plain.model, found.inputs, bench.targets)
    assert torch.allclose(found.maps, again, atol=1e-5)
