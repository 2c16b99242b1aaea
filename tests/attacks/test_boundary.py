"""The last point before the boundary, on the way to what an attack found."""

import pytest
import torch
from torch import nn

from pytest_xai import InvalidArgument
from pytest_xai.attacks import before_the_boundary, deepfool, fgsm
from pytest_xai.attacks.verified import make_and_verify


def far(bench, name="far"):
    """Every input far on the other side of its boundary, or, for odd images, not quite there."""
    weight = bench.subject.model[1].weight.detach()
    away = (weight[1 - bench.targets] - weight[bench.targets]).reshape(bench.inputs.shape)

    def make(chunk):
        place = bench.images.index(chunk.images[0])
        rows = slice(place, place + len(chunk))
        share = torch.where(torch.tensor(chunk.images) % 2 == 0, 3.0, 1e-3).double()
        return chunk.inputs + share.reshape(-1, 1, 1, 1) * away[rows]

    return make_and_verify(bench, (name,), make, norm=2.0)


def test_on_a_linear_model_it_is_where_the_margin_ends(linear, images, bench_of, distances):
    model = linear(2)
    bench = bench_of(model, images(40, dtype=torch.float64), bounds=(-9.0, 9.0))
    found = far(bench)
    assert 0 < found.flipped.sum() < 40
    before = before_the_boundary(bench, found, halvings=20)
    distance = distances(model, bench.inputs, bench.targets)
    way = found.size * 2**-20
    assert not before.flipped.any()
    assert torch.equal(before.predicted, bench.targets)
    flipped = found.flipped
    assert (before.size <= distance + 1e-12)[flipped].all()
    assert (before.size >= distance - way - 1e-12)[flipped].all()
    assert torch.equal(before.inputs[~flipped], found.inputs[~flipped])


@pytest.mark.parametrize("halvings", [1, 3, 8])
def test_it_is_the_last_of_equal_parts_of_the_way(halvings, network, images, bench_of):
    bench = bench_of(network(dtype=torch.float64), images(dtype=torch.float64))
    found = deepfool(bench)
    assert found.flipped.all()
    before = before_the_boundary(bench, found, halvings=halvings)
    share = before.size / found.size
    assert torch.allclose(share * 2**halvings, (share * 2**halvings).round(), atol=1e-6)
    beyond = share + 2**-halvings
    after = bench.inputs + beyond.reshape(-1, 1, 1, 1) * (found.inputs - bench.inputs)
    assert not before.flipped.any()
    assert (bench.predictions(after) != bench.predictions()).all()


def test_it_costs_as_many_forwards_as_halvings_and_is_made_once(bench_of):
    bench = bench_of()
    found = deepfool(bench)
    spent = bench.counter.spent
    first = before_the_boundary(bench, found, halvings=7)
    made = bench.counter.spent
    assert made.forward - spent.forward == 7 * int(found.flipped.sum()) + len(bench)
    assert made.backward == spent.backward
    assert torch.equal(before_the_boundary(bench, found, halvings=7).inputs, first.inputs)
    assert bench.counter.spent == made


def test_what_held_stays_and_costs_nothing_but_the_look(bench_of):
    bench = bench_of()
    found = fgsm(bench, epsilon=1e-4)
    assert not found.flipped.any()
    spent = bench.counter.spent.forward
    assert torch.equal(before_the_boundary(bench, found).inputs, found.inputs)
    assert bench.counter.spent.forward - spent == len(bench)


def test_views_get_their_own_rows(images, bench_of):
    bench = bench_of(inputs=images(40))
    whole = before_the_boundary(bench, deepfool(bench))
    part = bench.view(32, 40)
    assert torch.equal(before_the_boundary(part, deepfool(part)).inputs, whole.inputs[32:])


def test_another_attack_has_another_boundary(bench_of):
    bench = bench_of()
    near, one_step = deepfool(bench), fgsm(bench, epsilon=0.5)
    both = near.flipped & one_step.flipped
    assert both.any()
    found = [before_the_boundary(bench, attack).inputs[both] for attack in (near, one_step)]
    assert not torch.equal(*found)


def test_of_several_boundaries_on_the_way_one_is_found(bench_of):
    class Stripes(nn.Module):
        def forward(self, inputs):
            wave = torch.sin(20 * inputs.flatten(1).mean(1, keepdim=True) + 0.5)
            return torch.cat([wave, -wave], 1)

    bench = bench_of(Stripes(), torch.zeros(2, 1, 6, 6))
    found = make_and_verify(bench, ("far",), lambda chunk: chunk.inputs + 0.9, norm=2.0)
    assert found.flipped.all()
    assert not before_the_boundary(bench, found).flipped.any()


def test_no_halving_is_no_search(bench_of):
    bench = bench_of()
    with pytest.raises(InvalidArgument, match="^halvings: got 0"):
        before_the_boundary(bench, deepfool(bench), halvings=0)
