"""JSMA against all pairs, tried one by one, and against its algorithm in plain words."""

import itertools

import pytest
import torch
from torch import nn

from fixtures.loops import in_one_test
from pytest_xai.attacks import jsma
from pytest_xai.attacks.jsma import most_salient_pair


def product(rises, falls, pair):
    up, down = (float(values[list(pair)].sum()) for values in (rises, falls))
    return up * down if up > 0 and down > 0 else 0.0


def best_of_all(rises, falls, open_):
    """The largest product of any pair, 0 where there is none."""
    places = [place for place in range(len(rises)) if open_[place]]
    pairs = itertools.combinations(places, 2)
    return max((product(rises, falls, pair) for pair in pairs), default=0.0)


@in_one_test("seed", range(60))
def test_the_pair_is_the_best_of_all(seed):
    generator = torch.Generator().manual_seed(seed)
    size = 2 + seed % 11
    rises, falls = torch.randn(2, size, generator=generator, dtype=torch.float64)
    if seed % 3 == 0:  # many are equal
        rises, falls = rises.round(), falls.round()
    if seed % 3 == 1:  # a trade-off: what raises the one raises the other
        falls = -rises + 0.3 * falls
    open_ = torch.rand(size, generator=generator) < 0.8
    pair = most_salient_pair(rises, falls, open_)
    expected = best_of_all(rises, falls, open_)
    if pair is None:
        assert expected == 0
    else:
        first, second = pair.tolist()
        assert first != second
        assert open_[pair].all()
        assert product(rises, falls, (first, second)) == pytest.approx(expected, rel=1e-12)
        assert expected > 0


def test_a_pair_is_found_among_very_many():
    generator = torch.Generator().manual_seed(0)
    rises, falls = torch.randn(2, 150_000, generator=generator)
    pair = most_salient_pair(rises, falls, torch.ones(150_000, dtype=torch.bool))
    few = (rises + falls).topk(2000).indices
    up, down = (values[few, None] + values[None, few] for values in (rises, falls))
    products = torch.where((up > 0) & (down > 0), up * down, 0).fill_diagonal_(0)
    assert product(rises, falls, pair.tolist()) >= float(products.max()) * (1 - 1e-6)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_of_fewer_than_two_there_is_no_pair(values):
    values = torch.tensor(values)
    assert most_salient_pair(values, values, torch.ones(len(values), dtype=torch.bool)) is None


def in_plain_words(model, image, label, pairs, bound):
    """The algorithm for one image, with all pairs tried in every step."""
    image = image.clone()
    target = None
    for _ in range(pairs):
        logits = model(image[None])[0]
        if int(logits.argmax()) != label:
            break
        if target is None:
            ranked = logits.argsort(descending=True).tolist()
            target = next(k for k in ranked if k != label)
        jacobian = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], image)
        jacobian = jacobian.flatten(1) * (1 if bound == 1 else -1)
        rises = jacobian[target]
        falls = -(jacobian.sum(0) - rises)
        row = image.flatten()
        places = [place for place in range(len(row)) if row[place] != bound]
        candidates = list(itertools.combinations(places, 2))
        scores = [product(rises, falls, pair) for pair in candidates]
        if not scores or max(scores) <= 0:
            break
        row[list(candidates[scores.index(max(scores))])] = bound
        image = row.reshape(image.shape)
    return image, int(model(image[None]).argmax()) != label


@pytest.mark.parametrize("increase", [True, False], ids=["up", "down"])
def test_it_is_its_algorithm(increase, bench_of):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    with torch.no_grad():
        model[1].weight.mul_(3)
        model[1].bias.copy_(-model[1].weight.sum(1) / 2)
    inputs = torch.rand(24, 1, 3, 4, dtype=torch.float64)
    bench = bench_of(model, inputs)
    found = jsma(bench, share=0.7, increase=increase)
    assert 0.2 < found.flipped.double().mean() < 1
    for row, (image, target) in enumerate(zip(bench.inputs, bench.targets.tolist(), strict=True)):
        expected, fooled = in_plain_words(model, image, target, 4, 1.0 if increase else 0.0)
        assert found.flipped[row] == fooled
        assert torch.equal(found.inputs[row], expected if fooled else image)


def test_what_is_changed_is_at_a_bound_and_within_the_share(network, images, bench_of):
    bench = bench_of(network(), images(24), bounds=(-1.0, 2.0))
    found = jsma(bench, share=0.3)
    changed = found.inputs != bench.inputs
    assert changed.any()
    assert (found.inputs[changed] == 2).all()
    assert torch.equal(found.size, changed.flatten(1).sum(1).double())
    assert found.size.max() <= 10
    assert found.within.all()
    assert found.norm == 0
    # A step changes two.
    assert (found.size % 2 == 0).all()


def test_a_larger_share_leads_more_astray(network, images, bench_of):
    bench = bench_of(network(5), images(32))
    few, many = (jsma(bench, share=share).flipped.sum() for share in (0.06, 0.6))
    assert few < many


def test_fewer_elements_than_a_pair_are_no_attack(bench_of):
    bench = bench_of()
    found = jsma(bench, share=1 / 36)
    assert not found.flipped.any()
    assert torch.equal(found.inputs, bench.inputs)
