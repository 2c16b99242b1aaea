"""Networks whose kinks are rounded while they run."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fixtures import models
from pytest_xai.attacks.fooling import softened


class Kinked(nn.Module):
    """One activation, written in one of the ways that there are."""

    def __init__(self, activate):
        super().__init__()
        self.activate = activate

    def forward(self, inputs):
        values = inputs * 1
        return self.activate(values)


def ignoring(activate):
    """Use an in-place activation for what it does, not for what it returns."""

    def act(values):
        activate(values)
        return values

    return act


RELUS = {
    "function": functional.relu,
    "torch": torch.relu,
    "method": lambda values: values.relu(),
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "method in place": ignoring(lambda values: values.relu_()),
    "torch in place": ignoring(torch.relu_),
    "function in place": ignoring(lambda values: functional.relu(values, inplace=True)),
    "by keyword": lambda values: functional.relu(input=values),
}
VALUES = torch.tensor([[-2.0, -0.1, 0.0, 0.3, 4.0]], dtype=torch.float64)


def soft(values, sharpness):
    """log(1 + exp(b z)) / b with b the sharpness over the mean magnitude of all z."""
    unit = sharpness / VALUES.abs().mean()
    return torch.log1p(torch.exp(unit * values)) / unit


@pytest.mark.parametrize("name", RELUS)
def test_every_way_to_write_relu_is_softplus(name):
    model = Kinked(RELUS[name])
    with softened(model, sharpness=2.0):
        assert torch.allclose(model(VALUES), soft(VALUES, 2.0), atol=1e-8)
    assert torch.equal(model(VALUES), VALUES.clamp(min=0))


def test_sharp_bends_are_the_kinks():
    model = Kinked(functional.relu)
    with softened(model, sharpness=1e4):
        assert torch.allclose(model(VALUES), VALUES.clamp(min=0), atol=2e-4)


@pytest.mark.parametrize(
    "activate, bends, limit",
    [
        (nn.LeakyReLU(0.2), [(0.0, 0.8)], lambda z: functional.leaky_relu(z, 0.2)),
        (nn.ReLU6(), [(0.0, 1.0), (6.0, -1.0)], functional.relu6),
        (functional.relu6, [(0.0, 1.0), (6.0, -1.0)], functional.relu6),
        (nn.Hardtanh(-1.0, 2.0), [(-1.0, 1.0), (2.0, -1.0)], lambda z: z.clamp(-1, 2)),
    ],
    ids=["leaky", "relu6 module", "relu6", "hard tanh"],
)
def test_relatives_of_relu_bend_where_they_have_kinks(activate, bends, limit):
    model = Kinked(activate)
    values = torch.linspace(-8, 8, 33).double()[None]
    with softened(model, sharpness=1e4):
        assert torch.allclose(model(values), limit(values), atol=2e-3)
    places = torch.tensor([[place for place, _ in bends] + [3.0]]).double().requires_grad_()
    with softened(model, sharpness=20.0):
        (slope,) = torch.autograd.grad(model(places).sum(), places, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), places)
    signs = [1.0 if turn > 0 else -1.0 for _, turn in bends]
    assert curvature[0, :-1].sign().tolist() == signs
    assert curvature[0, -1].abs() < 1e-2 * curvature[0, :-1].abs().min()


def test_what_flows_back_is_rectified_where_it_is_guided():
    model = Kinked(functional.relu)
    weights = torch.tensor([[1.0, -1.0, 2.0, -2.0, 3.0]]).double()
    values = VALUES.clone().requires_grad_()
    with softened(model, sharpness=1e6, guided=True):
        (slope,) = torch.autograd.grad((weights * model(values)).sum(), values)
    assert slope[0, [0, 1, 3, 4]].tolist() == [0.0, 0.0, 0.0, 3.0]


def test_a_relu_network_has_curvature_within_and_none_without():
    model, inputs = models.functional_net(), torch.rand(2, 1, 6, 6).double().requires_grad_()

    def curvature():
        (slope,) = torch.autograd.grad(model(inputs)[:, 0].sum(), inputs, create_graph=True)
        (found,) = torch.autograd.grad(slope.square().sum(), inputs, allow_unused=True)
        return 0.0 if found is None else float(found.abs().sum())

    with softened(model, sharpness=10.0):
        assert curvature() > 0
    assert curvature() == 0


def test_only_the_model_itself_is_meant():
    model = Kinked(functional.relu)
    with softened(model, sharpness=2.0):
        model(VALUES)
        assert torch.equal(functional.relu(VALUES), VALUES.clamp(min=0))


def test_an_error_inside_leaves_nothing_behind():
    model = models.normed()
    with softened(model, sharpness=2.0), pytest.raises(RuntimeError):
        model(torch.ones(2, 5, 6, 6).double())  # five channels, not two
    assert torch.equal(functional.relu(VALUES), VALUES.clamp(min=0))
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_attention_can_be_differentiated_twice():
    class Attending(nn.Module):
        def forward(self, inputs):
            return functional.scaled_dot_product_attention(inputs, inputs, inputs).sum((1, 2))

    model, inputs = Attending(), torch.rand(2, 1, 3, 4).requires_grad_()
    with softened(model, sharpness=10.0):
        (slope,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
        (found,) = torch.autograd.grad(slope.square().sum(), inputs)
    assert found.abs().sum() > 0
