"""Shapley values against games whose values are known."""

import itertools

import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting import passes

SAMPLED, KERNEL = "captum:ShapleyValueSampling", "captum:KernelShap"


class Game(nn.Module):
    """x1 x2 + 2 x3 - x1 x3 x4 as class 1."""

    def forward(self, inputs):
        a, b, c, d = inputs.flatten(1).T
        return torch.stack([9 * a - b, a * b + 2 * c - a * c * d], 1)


def additive():
    class Additive(nn.Module):
        def forward(self, inputs):
            flat = inputs.flatten(1)
            return torch.stack([flat.sum(1), (flat**2 + flat.sin()).sum(1)], 1)

    return Additive()


def explain(spec, model, inputs, *, baseline=None, seed=0, **options):
    torch.manual_seed(seed)
    baseline = torch.zeros_like(inputs[:1]) if baseline is None else baseline
    targets = torch.ones(len(inputs), dtype=torch.long)
    return explainers.get(spec, **options).call(model, inputs, targets, baseline=baseline)


POINT = torch.tensor([[1.0, 2.0, 3.0, 0.5]]).double()


@pytest.mark.parametrize(
    "spec, options", [(SAMPLED, {"permutations": 1000}), (KERNEL, {"samples": 1000})]
)
def test_values_of_a_game(spec, options):
    """Each monomial is shared equally among its features."""
    maps = explain(spec, Game(), POINT, **options)
    expected = torch.tensor([[0.5, 1.0, 5.5, -0.5]]).double()
    # A feature's gain in this game varies by less than 2: four standard errors.
    assert torch.allclose(maps, expected, rtol=0, atol=4 * 2 / 1000**0.5)
    assert not torch.allclose(maps, POINT * torch.tensor([[2, 1, 2 - 0.5, -3]]), atol=0.5)


def test_sampled_values_are_the_gains_along_the_orders():
    """One order: the gain of each feature as it joins those before it, for some order."""
    maps = explain(SAMPLED, Game(), POINT, permutations=1)
    found = []
    for order in itertools.permutations(range(4)):
        shown, gains, last = torch.zeros_like(POINT), torch.zeros_like(POINT), 0.0
        for feature in order:
            shown[0, feature] = POINT[0, feature]
            value = float(Game()(shown)[0, 1])
            gains[0, feature], last = value - last, value
        found.append(torch.allclose(gains, maps))
    assert any(found)


SHAPES = [(4,), (2, 10), (3, 6, 5), (2, 4, 3, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spec, options", [(SAMPLED, {"permutations": 2}), (KERNEL, {})])
def test_additive_functions_in_blocks(shape, spec, options):
    torch.manual_seed(0)
    model, inputs, baseline = additive(), *torch.randn(2, 2, *shape).double()
    maps = explain(spec, model, inputs, baseline=baseline, blocks=2, **options)
    gains = inputs**2 + inputs.sin() - baseline**2 - baseline.sin()
    if len(shape) == 1:
        expected = gains
    else:
        expected = torch.zeros_like(maps)
        edges = [(0, -(-side // 2), side) for side in shape[1:]]
        for corner in itertools.product((0, 1), repeat=len(edges)):
            place = tuple(slice(e[c], e[c + 1]) for e, c in zip(edges, corner, strict=True))
            block = gains[(slice(None), slice(None), *place)].sum(1, keepdim=True)
            shared = block.flatten(1).mean(1).reshape(-1, *(1,) * (len(shape)))
            expected[(slice(None), slice(None), *place)] = shared
    assert torch.allclose(maps, expected, atol=2e-5)
    delta = (model(inputs) - model(baseline))[:, 1]
    assert torch.allclose(maps.flatten(1).sum(1), delta, atol=1e-4)


@pytest.mark.parametrize("spec", [SAMPLED, KERNEL])
@pytest.mark.parametrize("options", [{}, {"blocks": 3}])
def test_the_sum_for_few_draws(spec, options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    inputs, baseline = torch.randn(2, 3, 2, 4, 4).double()
    few = {"permutations": 1} if spec == SAMPLED else {"samples": 20}
    maps = explain(spec, model, inputs, baseline=baseline, **options, **few)
    delta = (model(inputs) - model(baseline))[:, 1]
    assert torch.allclose(maps.flatten(1).sum(1), delta, atol=1e-4)


def test_per_channel():
    torch.manual_seed(0)
    inputs, baseline = torch.randn(2, 2, 3, 4).double()
    maps = explain(SAMPLED, additive(), inputs, baseline=baseline, per_channel=True, blocks=4)
    expected = inputs**2 + inputs.sin() - baseline**2 - baseline.sin()
    assert torch.allclose(maps, expected, atol=1e-6)
    claimed = explainers.get(SAMPLED, per_channel=True).traits.claims
    assert "dummy_feature" in claimed - explainers.get(SAMPLED).traits.claims


@pytest.mark.parametrize("spec", [SAMPLED, KERNEL])
def test_same_draws_for_every_image(spec):
    few = {"permutations": 2} if spec == SAMPLED else {"samples": 12}
    twice = explain(spec, Game(), POINT.repeat(2, 1), **few)
    assert torch.equal(twice[0], twice[1])
    state = torch.get_rng_state()
    assert torch.equal(explain(spec, Game(), POINT, **few)[0], twice[0])
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(explain(spec, Game(), POINT, seed=1, **few)[0], twice[0])


def test_passes_of_bounded_size(monkeypatch):
    model, sizes = Game(), []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    inputs = torch.cat([POINT, 2 * POINT])
    monkeypatch.setattr(passes, "_VALUES", 6 * 4)
    explain(SAMPLED, model, inputs, permutations=2)
    assert sizes == [2, 6, 2, 6, 2]
    sizes.clear()
    explain(KERNEL, model, inputs, samples=15)
    assert sizes == [6, 6, 3] * 2


@pytest.mark.parametrize("spec", [SAMPLED, KERNEL])
def test_captum_computes_in_float32(spec):
    """The deviation that the docstrings name: exact in float64, these would be right to 1e-15."""
    inputs = torch.full((1, 4), 1 / 3).double()
    maps = explain(spec, additive(), inputs)
    error = (maps - (inputs**2 + inputs.sin())).abs().max()
    assert maps.dtype == torch.float64
    assert 1e-12 < error < 1e-5


def test_options():
    for options in ({"permutations": 0}, {"blocks": 0}, {"per_channel": 1}):
        with pytest.raises(InvalidArgument, match=next(iter(options))):
            explainers.get(SAMPLED, **options)
    for options in ({"samples": 1}, {"blocks": 0}):
        with pytest.raises(InvalidArgument, match=next(iter(options))):
            explainers.get(KERNEL, **options)


def test_a_single_feature_is_not_for_kernel_shap():
    with pytest.raises(
        NotApplicable, match="needs at least two features, and these inputs have one"
    ):
        explain(KERNEL, additive(), torch.ones(1, 1, 4, 4), blocks=1)
    maps = explain(SAMPLED, additive(), torch.ones(1, 1, 2, 2), blocks=1)
    assert torch.allclose(maps, torch.full_like(maps, 1 + torch.tensor(1.0).sin()))
