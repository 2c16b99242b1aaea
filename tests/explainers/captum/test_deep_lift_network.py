"""Networks that captum's DeepLift does not support are refused, and no hook data remains."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument, NotApplicable

INPUTS = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.25, 1.0, -1.0, 2.0]]).double()
TARGETS = torch.tensor([0, 1])


class Model(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.relu, self.last = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
        self.between = between
        for weights in self.parameters():
            weights.data = torch.randint(-4, 5, weights.shape, generator=generator) / 4
        self.double().eval()

    def forward(self, x):
        return self.last(self.between(self.relu(self.first(x))))


def lift(model, inputs=INPUTS, spec="captum:DeepLift"):
    baseline = torch.zeros_like(inputs[:1])
    return explainers.get(spec).call(model, inputs, TARGETS, baseline=baseline)


def gap(model, inputs=INPUTS):
    total = lift(model, inputs).flatten(1).sum(1)
    change = model(inputs) - model(torch.zeros_like(inputs))
    return (total - change.gather(1, TARGETS[:, None]).squeeze(1)).abs().max()


SCALE = torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
LINEAR = {
    "a multiple": lambda x: 2 * x * SCALE / 4,
    "a sum": lambda x: x + 1 - SCALE - x / 2,
    "in place": lambda x: x.clone().mul_(2).add_(1),
    "a matrix": lambda x: x @ torch.diag(SCALE),
    "moved": lambda x: torch.cat([x[:, 2:], x[:, :2]], 1).unflatten(1, (2, 2)).mT.flatten(1),
    "a mean": lambda x: x - x.mean(1, keepdim=True),
    "dropout": nn.Dropout(0.5),
    "batch norm": nn.BatchNorm1d(4),
}
OTHER = {
    "gelu": nn.GELU(),
    "silu": functional.silu,
    "hardtanh": nn.ReLU6(),
    "mul": lambda x: x * x.mean(1, keepdim=True),
    "matmul": lambda x: (x[:, None] @ x[:, :, None]).flatten(1).expand(-1, 4),
    "div": lambda x: 1 + x / (1 + x.sum(1, keepdim=True)),
    "pow": lambda x: x**2,
    "layer_norm": nn.LayerNorm(4),
    "group_norm": nn.GroupNorm(2, 4),
    "log_softmax": nn.LogSoftmax(1),
    "exp": torch.exp,
    "clamp": lambda x: x.clamp(max=1),
}


@pytest.mark.parametrize("what", LINEAR)
def test_what_is_linear_adds_up(what):
    assert gap(Model(LINEAR[what])) < 1e-12


@pytest.mark.parametrize("spec", ["captum:DeepLift", "captum:DeepLiftShap"])
@pytest.mark.parametrize("what", OTHER)
def test_what_has_no_rule_is_refused_by_its_name(what, spec):
    with pytest.raises(NotApplicable, match=f"captum's DeepLift has no rule for {what}, "):
        lift(Model(OTHER[what]), spec=spec)


def test_a_function_with_a_rule_is_asked_for_as_a_module():
    with pytest.raises(InvalidArgument, match="calls of relu outside the modules"):
        lift(Model(functional.relu))


def test_products_and_quotients_of_weights_are_the_models_own_affair():
    model = Model(nn.Identity())
    parametrizations.spectral_norm(model.first)
    assert gap(model.eval()) < 1e-12


def test_a_batch_norm_by_the_batch_is_refused():
    with pytest.raises(NotApplicable, match="has no rule for batch_norm"):
        lift(Model(nn.BatchNorm1d(4, track_running_stats=False)))


@pytest.mark.parametrize("dilation", [1, 2, (1, 2)])
def test_a_dilated_max_pool_is_refused(dilation):
    images = torch.arange(32.0).double().reshape(2, 1, 4, 4)
    pool = nn.MaxPool2d(2, stride=2, dilation=dilation)
    size = 4 if dilation == 1 else 1 if dilation == 2 else 2
    model = nn.Sequential(pool, nn.Flatten(), nn.Linear(size, 2)).double()
    if dilation == 1:
        assert gap(model, images) < 1e-12
    else:
        with pytest.raises(NotApplicable, match="does not support dilated max-pools"):
            lift(model, images)


def test_nothing_is_left_on_modules_when_the_model_raises():
    def fail(hidden):
        message = "no such thing"
        raise KeyError(message)

    model = Model(fail)
    model.relu.input = mine = object()
    before = {module: set(vars(module)) for module in model.modules()}
    with pytest.raises(KeyError, match="no such thing"):
        lift(model)
    assert {module: set(vars(module)) for module in model.modules()} == before
    assert model.relu.input is mine
    model.between = nn.Identity()
    assert gap(model) < 1e-12
    assert model.relu.input is mine
