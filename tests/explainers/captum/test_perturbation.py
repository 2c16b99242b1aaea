"""Ablation and permutation against brute force."""

import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting import passes
from pytest_xai.explainers.captum.features import features_of


class Smooth(nn.Module):
    """Three classes, nonlinear in every feature and in pairs of neighbours."""

    def forward(self, inputs):
        flat = inputs.flatten(1)
        pairs = (flat[:, 1:] * flat[:, :-1]).sum(1)
        return torch.stack([flat.sum(1), pairs + flat.sin().sum(1), (flat**3).sum(1)], 1)


TARGETS = torch.tensor([1, 2])
SHAPES = [(5,), (2, 7), (2, 5, 4), (2, 3, 4, 2)]


def inputs_of(*shape, count=2):
    torch.manual_seed(0)
    return torch.randn(count, *shape).double(), torch.randn(count, *shape).double()


def brute_force(inputs, references, targets, features):
    """What the target's output loses when a feature is that of the reference."""
    maps = torch.zeros_like(inputs)
    for number in features.unique():
        here = (features == number).expand_as(inputs)
        drop = Smooth()(inputs) - Smooth()(references.where(here, inputs))
        drop = drop.gather(1, targets[:, None]).reshape(-1, *(1,) * (inputs.ndim - 1))
        maps = drop.expand_as(inputs).where(here, maps)
    return maps


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"blocks": 2}, {"blocks": 3, "per_channel": True}])
@pytest.mark.parametrize("rows", [1, 2])
def test_ablation(shape, options, rows):
    inputs, references = inputs_of(*shape)
    references = references[:rows]
    maps = explainers.get("captum:FeatureAblation", **options).call(
        Smooth(), inputs, TARGETS, baseline=references
    )
    features = features_of(inputs, options.get("blocks"), per_channel="per_channel" in options)
    expected = brute_force(inputs, references.expand_as(inputs), TARGETS, features)
    whole = len(shape) == 1 or "per_channel" in options
    assert maps.shape == (inputs.shape if whole else (2, 1, *shape[1:]))
    assert torch.allclose(maps.expand_as(inputs), expected, atol=1e-12)


@pytest.mark.parametrize(
    "function, point, expected",
    [
        (lambda x: x[:, 0] * x[:, 1], (2, 3), (6, 6)),
        (lambda x: x[:, 0] ** 2 * x[:, 1], (2, 3), (12, 12)),
        (lambda x: x.max(1).values, (5, 3), (2, 0)),
        (lambda x: 1 - torch.relu(1 - x.sum(1)), (1, 1), (0, 0)),
        (lambda x: torch.relu(x[:, 0] - x[:, 1]), (1, 3), (0, -1)),
    ],
)
def test_ablation_of_reference_functions(function, point, expected):
    class Model(nn.Module):
        def forward(self, inputs):
            return torch.stack([11 * inputs[:, 0], function(inputs)], 1)

    inputs = torch.tensor([point]).double()
    for rows in (inputs, inputs.repeat(2, 1)):
        maps = explainers.get("captum:FeatureAblation").call(
            Model(), rows, torch.ones(len(rows), dtype=int), baseline=torch.zeros_like(inputs)
        )
        assert torch.equal(maps, torch.tensor([expected]).double().expand_as(rows))


def test_ablation_in_passes_of_bounded_size(monkeypatch):
    inputs, references = inputs_of(2, 6, 4)
    model, sizes = Smooth(), []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    explain = explainers.get("captum:FeatureAblation", blocks=4).call
    whole = explain(model, inputs, TARGETS, baseline=references)
    assert sizes == [2, 32]
    sizes.clear()
    monkeypatch.setattr(passes, "_VALUES", 11 * 48)
    assert torch.allclose(explain(model, inputs, TARGETS, baseline=references), whole)
    assert sizes == [2, 10, 10, 10, 2]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_permutation_is_the_mean_ablation_over_the_references(shape, rows):
    inputs, _ = inputs_of(*shape)
    _, references = inputs_of(*shape, count=rows)
    explainer = explainers.get("captum:FeaturePermutation", references=references, blocks=2)
    maps = explainer.call(Smooth(), inputs, TARGETS, baseline=inputs)
    features = features_of(inputs, 2)
    expected = sum(
        brute_force(inputs, reference.expand_as(inputs), TARGETS, features)
        for reference in references
    )
    assert maps.shape == (inputs.shape if len(shape) == 1 else (2, 1, *shape[1:]))
    assert torch.allclose(maps.expand_as(inputs), expected / rows, atol=1e-12)
    alone = explainer.call(Smooth(), inputs[1:], TARGETS[1:], baseline=inputs[1:])
    assert torch.equal(alone, maps[1:])


@pytest.mark.parametrize("largest", [1, 2, 4, 100])
def test_permutation_in_passes_of_bounded_size(largest, monkeypatch):
    inputs, _ = inputs_of(5)
    _, references = inputs_of(5, count=7)
    model, sizes = Smooth(), []
    explain = explainers.get("captum:FeaturePermutation", references=references).call
    whole = explain(model, inputs, TARGETS, baseline=inputs)
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    monkeypatch.setattr(passes, "_VALUES", largest * 5)
    assert torch.allclose(explain(model, inputs, TARGETS, baseline=inputs), whole)
    # Three at the least: captum leaves out a batch of one.
    assert max(sizes) <= max(3, largest)
    assert min(sizes) >= 2
    assert sum(sizes) == 2 * 7 * (1 + 5)


def test_permutation_follows_the_inputs_dtype():
    inputs, references = inputs_of(2, 3)
    explainer = explainers.get("captum:FeaturePermutation", references=references)
    maps = explainer.call(Smooth(), inputs.float(), TARGETS, baseline=inputs.float())
    assert maps.dtype == torch.float32
    assert not explainer.traits.stochastic


@pytest.mark.parametrize("rows", [1, 2])
def test_permutation_with_the_baseline_alone_is_ablation(rows):
    inputs, references = inputs_of(2, 5, 4)
    ablation, permutation = (
        explainers.get(spec).call(Smooth(), inputs, TARGETS, baseline=references[:rows])
        for spec in ("captum:FeatureAblation", "captum:FeaturePermutation")
    )
    assert torch.allclose(ablation, permutation, atol=1e-12)


def test_options():
    with pytest.raises(InvalidArgument, match=r"of shape \(0, 4\), expected .* at least one input"):
        explainers.get("captum:FeaturePermutation", references=torch.zeros(0, 4))
    for spec in ("captum:FeatureAblation", "captum:FeaturePermutation"):
        with pytest.raises(InvalidArgument, match="blocks: got 0"):
            explainers.get(spec, blocks=0)
    assert (
        "dummy_feature" in explainers.get("captum:FeatureAblation", per_channel=True).traits.claims
    )
    assert "dummy_feature" not in explainers.get("captum:FeatureAblation").traits.claims
