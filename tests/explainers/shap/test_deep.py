"""shap's DeepExplainer against DeepLIFT's closed forms, and its refusals."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.shap import ENTRIES

ENTRY = ENTRIES["shap:DeepExplainer"]
explain = ENTRY.factory()


def rectified(weights, biases, heads, offset=0.0):
    model = nn.Sequential(nn.Linear(len(weights[0]), len(weights)), nn.ReLU())
    model.append(nn.Linear(len(weights), 1)).double()
    values = (weights, biases, [heads], [offset])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(torch.tensor(value))
    return model


MINIMUM = rectified([[1.0, 0.0], [-1.0, 0.0], [1.0, -1.0]], [0.0, 0.0, 0.0], [1.0, -1.0, -1.0])
SATURATED = rectified([[-1.0, -1.0]], [1.0], [-1.0], 1.0)
DIFFERENCE = rectified([[1.0, -1.0]], [0.0], [1.0])


@pytest.mark.parametrize(
    "model, image, baseline, expected",
    [
        (MINIMUM, (5, 3), (0, 0), (0, 3)),
        (SATURATED, (1, 1), (0, 0), (0.5, 0.5)),
        (SATURATED, (2, 0.5), (0, 0), (0.8, 0.2)),
        (SATURATED, (2, 0), (0, 0), (1, 0)),
        (rectified([[1.0, 1.0]], [-1.0], [1.0]), (1, 1), (0, 0), (0.5, 0.5)),
        (DIFFERENCE, (3, 1), (0, 0), (3, -1)),
        (DIFFERENCE, (1, 3), (0, 0), (0, 0)),
        (DIFFERENCE, (3, 1), (0, 2), (1.5, 0.5)),
    ],
)
def test_closed_forms(model, image, baseline, expected):
    image, baseline, expected = (
        torch.tensor([each], dtype=torch.float64) for each in (image, baseline, expected)
    )
    maps = explain(model, image, torch.tensor([0]), baseline=baseline)
    assert torch.allclose(maps, expected, rtol=0, atol=1e-12)


def test_hidden_layer_with_bias_is_the_formula():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    images, baseline = torch.randn(2, 5, 4).double()
    targets = torch.tensor([0, 1, 2, 1, 0])
    maps = explain(model, images, targets, baseline=baseline)
    first, _, last = model
    before, reference = first(images), first(baseline)
    slope = (before.relu() - reference.relu()) / (before - reference)
    expected = (images - baseline) * ((slope * last.weight[targets]) @ first.weight)
    assert torch.allclose(maps, expected, rtol=0, atol=1e-12)


def test_each_image_has_its_own_row_of_the_baseline():
    model = nn.Linear(3, 2).double()
    images, baseline = torch.randn(2, 4, 3).double()
    targets = torch.tensor([0, 1, 1, 0])
    maps = explain(model, images, targets, baseline=baseline)
    assert torch.allclose(maps, (images - baseline) * model.weight[targets], rtol=0, atol=1e-12)
    shared = explain(model, images, targets, baseline=baseline[:1])
    assert torch.allclose(
        shared, (images - baseline[:1]) * model.weight[targets], rtol=0, atol=1e-12
    )


class Pooled(nn.Module):
    def __init__(self, pool, *, act=None):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.act = nn.ReLU() if act is None else act
        self.pool = pool
        self.head = nn.LazyLinear(3)

    def forward(self, inputs):
        return self.head(self.pool(self.act(self.conv(inputs))).flatten(1))


def pooled(pool, **options):
    torch.manual_seed(0)
    model = Pooled(pool, **options).double().eval()
    images, baseline = torch.rand(2, 4, 1, 6, 6).double()
    model(images)
    return model, images, torch.tensor([0, 1, 2, 0]), baseline


def gap(maps, model, images, targets, baseline):
    difference = (model(images) - model(baseline)).gather(1, targets[:, None]).squeeze(1)
    return (maps.flatten(1).sum(1) - difference).abs().max()


@pytest.mark.parametrize("act", [nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh(), nn.Softplus()])
def test_activation_before_max_pool_sums_up(act):
    model, images, targets, baseline = pooled(nn.MaxPool2d(2), act=act)
    maps = explain(model, images, targets, baseline=baseline)
    assert gap(maps, model, images, targets, baseline) < 1e-12
    assert all(each.inplace == act.inplace for each in model.modules() if hasattr(each, "inplace"))


def test_overlapping_pools_are_refused_with_the_figures():
    model, images, targets, baseline = pooled(nn.MaxPool2d(3, 2))
    with pytest.raises(NotApplicable, match=r"values sum to -?\d.*, but f\(x\) - f\(x'\) is .*gap"):
        explain(model, images, targets, baseline=baseline)


def test_dilated_pools_are_refused_by_name():
    model, images, targets, baseline = pooled(nn.MaxPool2d(2, 1, dilation=2))
    with pytest.raises(NotApplicable, match="dilated max-pools, and 'pool' is one"):
        explain(model, images, targets, baseline=baseline)


def test_a_gap_below_shaps_own_tolerance_is_refused():
    """shap lets pass what misses by less than 0.01, however small the outputs are."""
    model, images, targets, baseline = pooled(nn.MaxPool2d(3, 2))
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(1e-3)
    with pytest.raises(NotApplicable, match="DeepExplainer is wrong on this network"):
        explain(model, images, targets, baseline=baseline)


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.relu = nn.ReLU()

    def forward(self, inputs):
        return self.third(self.relu(self.second(self.relu(self.first(inputs)))))


def test_reused_modules_are_refused_by_name():
    with pytest.raises(NotApplicable, match="more than once in a pass, as 'relu' does"):
        explain(Reused(), torch.rand(2, 4), torch.tensor([0, 1]), baseline=torch.zeros(1, 4))


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 2)
        self.function = function

    def forward(self, inputs):
        return self.second(self.function(self.first(inputs)))


@pytest.mark.parametrize(
    "function, name",
    [
        (functional.relu, "relu"),
        (torch.relu_, "relu_"),
        (torch.sigmoid, "sigmoid"),
        (functional.gelu, "gelu"),
        (functional.selu, "selu"),
        (lambda x: x.softmax(1), "softmax"),
    ],
)
def test_functions_are_refused_by_name(function, name):
    torch.manual_seed(0)
    model = Functional(function)
    with pytest.raises(InvalidArgument, match=f"calls of {name} outside the modules"):
        explain(model, torch.randn(2, 4), torch.tensor([0, 1]), baseline=torch.zeros(1, 4))


def test_modules_without_a_rule_are_judged_by_the_sum():
    torch.manual_seed(0)
    images, targets, baseline = torch.randn(2, 4), torch.tensor([0, 1]), torch.zeros(1, 4)
    linear = nn.Sequential(nn.Linear(4, 5), nn.Unflatten(1, (5, 1)), nn.Flatten(), nn.Linear(5, 2))
    maps = explain(linear, images, targets, baseline=baseline)
    assert gap(maps, linear, images, targets, baseline) < 1e-6
    curved = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    with pytest.raises(NotApplicable, match="sum to"):
        explain(curved, images, targets, baseline=baseline)


def test_not_a_number_is_left_to_the_check_of_maps():
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight[0, 0] = torch.inf
    maps = explain(model, torch.zeros(1, 3), torch.tensor([0]), baseline=torch.zeros(1, 3))
    assert not torch.isfinite(maps).all()


def test_no_traces_and_no_draws():
    model, images, targets, baseline = pooled(nn.MaxPool2d(2), act=nn.ReLU(inplace=True))
    model.train()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    model.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = copy.copy([dict(vars(module)) for module in model.modules()])
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    with torch.no_grad():
        maps = explain(model, images, targets, baseline=baseline)
    assert not maps.requires_grad
    assert model.training
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(not each._forward_hooks and not each._backward_hooks for each in model.modules())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


def test_declared_cost_is_the_counted_one():
    spent = {"forward": 0, "backward": 0}

    def count(_, __, output):
        spent["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda _: spent.update(backward=spent["backward"] + len(output)))

    model = nn.Linear(4, 2)
    model.register_forward_hook(count)
    ENTRY.factory()(model, torch.rand(3, 4), torch.tensor([0, 1, 1]), baseline=torch.zeros(1, 4))
    assert spent == {"forward": 9, "backward": 6}
    assert ENTRY.traits({}, library="").cost == "3 forward + 2 backward"
