"""LRP against its rules written out, and against gradient x input, which LRP-0 is on ReLU nets."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument, NotApplicable


def lrp(model, inputs, targets, **options):
    return explainers.get("captum:LRP", **options).call(model, inputs, targets)


def network(*, bias=True, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(5, 7, bias=bias), nn.ReLU(), nn.Linear(7, 6, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(6, 3, bias=bias)).double()


def case(*shape, count=4):
    torch.manual_seed(1)
    return torch.rand(count, *shape).double(), torch.tensor([2, 0, 1, 1])[:count]


def by_hand(model, inputs, targets, share):
    """Relevance handed back through Linear and ReLU by a rule (inputs, layer) -> weights, z."""
    activations = [inputs]
    for layer in model:
        activations.append(layer(activations[-1]))
    chosen = functional.one_hot(targets, activations[-1].shape[1]).double()
    relevance = activations[-1] * chosen
    for layer, given in zip(reversed(model), reversed(activations[:-1]), strict=True):
        if isinstance(layer, nn.Linear):
            weight, denominator = share(given, layer)
            relevance = given * ((relevance / denominator) @ weight)
    return relevance


def signed(z, epsilon):
    return z + epsilon * torch.where(z < 0, -1.0, 1.0)


def epsilon_rule(epsilon):
    return lambda a, layer: (layer.weight, signed(layer(a), epsilon))


def gamma_rule(gamma):
    def share(a, layer):
        weight = layer.weight + gamma * layer.weight.relu()
        return weight, signed(functional.linear(a, weight, layer.bias), 1e-9)

    return share


def alpha_rule(a, layer):
    weight = layer.weight.relu()
    return weight, signed(functional.linear(a, weight), 1e-9)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "options, share",
    [
        ({}, epsilon_rule(1e-18)),
        ({"epsilon": 1e-9}, epsilon_rule(1e-9)),
        ({"epsilon": 0.25}, epsilon_rule(0.25)),
        ({"rule": "gamma"}, gamma_rule(0.25)),
        ({"rule": "gamma", "gamma": 2.0}, gamma_rule(2.0)),
        ({"rule": "alpha1beta0"}, alpha_rule),
    ],
)
def test_rules(bias, options, share):
    model, (inputs, targets) = network(bias=bias), case(5)
    expected = by_hand(model, inputs, targets, share)
    assert torch.allclose(lrp(model, inputs, targets, **options), expected, atol=1e-10)
    # captum forgets rules with the call that they were used in.
    assert torch.allclose(lrp(model, inputs, targets, **options), expected, atol=1e-10)


def test_the_rules_differ_on_this_network():
    model, (inputs, targets) = network(), case(5)
    options = [{}, {"epsilon": 0.25}, {"rule": "gamma"}, {"rule": "alpha1beta0"}]
    maps = [lrp(model, inputs, targets, **each) for each in options]
    assert all((maps[i] - maps[i - 1]).abs().max() > 1e-3 for i in range(4))


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha1beta0"])
def test_relevance_is_conserved_without_biases(rule):
    model, (inputs, targets) = network(bias=False), case(5)
    total = lrp(model, inputs, targets, rule=rule).sum(1)
    output = model(inputs).gather(1, targets[:, None]).squeeze(1)
    assert torch.allclose(total, output, atol=1e-6)


def gradient_times_input(model, inputs, targets):
    values = inputs.clone().requires_grad_()
    total = model(values).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(total, values)[0] * inputs


class Shaped(nn.Module):
    """Flattens with a function, between modules."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
        self.head = nn.Linear(4 * 4 * 4, 3)

    def forward(self, inputs):
        hidden = self.body(inputs)
        return self.head(torch.flatten(hidden, 1).view(len(inputs), -1))[:, :3]


class Reused(nn.Module):
    """One ReLU, twice."""

    def __init__(self, *, layer=False):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)
        self.relu, self.layer = nn.ReLU(), layer

    def forward(self, inputs):
        hidden = self.relu(self.first(self.relu(self.first(inputs)) if self.layer else inputs))
        return self.relu(self.second(hidden))


def convolutional():
    norm = nn.BatchNorm2d(4)
    norm.running_mean.uniform_(-0.1, 0.1)
    norm.running_var.uniform_(0.5, 2.0)
    body = [nn.Conv2d(2, 4, 3, padding=1), norm, nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    tail = [nn.Conv2d(4, 5, 2), nn.ReLU(inplace=True), nn.Dropout(), nn.AvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*body, *tail, nn.Linear(5, 4), nn.ReLU(), nn.Identity(), nn.Linear(4, 3))


@pytest.mark.parametrize("build", [convolutional, Shaped], ids=["modules", "functional flatten"])
def test_lrp_0_is_gradient_times_input_on_relu_networks(build):
    torch.manual_seed(0)
    model, (inputs, targets) = build().double().eval(), case(2, 6, 6)
    expected = gradient_times_input(model, inputs, targets)
    assert torch.allclose(lrp(model, inputs, targets), expected, atol=1e-6 * expected.abs().max())
    assert expected.abs().max() > 1e-4


def test_a_relu_may_be_used_twice():
    torch.manual_seed(0)
    model, (inputs, targets) = Reused().double(), case(5)
    expected = gradient_times_input(model, inputs, targets)
    assert torch.allclose(lrp(model, inputs, targets), expected, atol=1e-7)
    assert expected.abs().max() > 1e-3


def test_a_single_layer_is_a_network():
    model, (inputs, targets) = nn.Linear(5, 3).double(), case(5)
    assert torch.allclose(lrp(model, inputs, targets), inputs * model.weight[targets], atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"rule": "gamma"}])
def test_the_model_stays_as_it_is(options):
    torch.manual_seed(0)
    model, (inputs, targets) = convolutional().double().eval(), case(2, 6, 6)
    before = copy.deepcopy(model.state_dict())
    storage = [parameter.data_ptr() for parameter in model.parameters()]
    attributes = [sorted(vars(module)) for module in model.modules()]
    try:
        lrp(model, inputs, targets, **options)
    except NotApplicable:
        assert options
    assert storage == [parameter.data_ptr() for parameter in model.parameters()]
    assert attributes == [sorted(vars(module)) for module in model.modules()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[2].inplace
    assert isinstance(model[8], nn.Flatten)
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


class Residual(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)
        self.relu, self.function = nn.ReLU(), function

    def forward(self, inputs):
        return self.second(self.function(self.relu(self.first(inputs)), inputs))


def test_a_functional_sum_would_be_wrong_and_is_refused():
    """Why: captum itself, on the sum as a function."""
    import captum.attr

    torch.manual_seed(0)
    model = Residual(lambda hidden, inputs: hidden + inputs).double()
    inputs, targets = case(5)
    wrong = captum.attr.LRP(copy.deepcopy(model)).attribute(
        inputs.clone().requires_grad_(), target=targets
    )
    right = gradient_times_input(model, inputs, targets)
    assert (wrong - right).abs().max() > right.abs().max()
    with pytest.raises(
        NotApplicable, match="do more than move values: add. Write sums as captum's"
    ):
        lrp(model, inputs, targets)


@pytest.mark.parametrize(
    "function, name",
    [
        (lambda hidden, _: hidden * 2, "mul"),
        (lambda hidden, inputs: hidden.add_(inputs), "add_"),
        (lambda hidden, _: hidden - hidden.mean(1, keepdim=True), "mean, sub"),
        (lambda hidden, _: functional.gelu(hidden), "gelu"),
    ],
)
def test_other_functions_are_refused(function, name):
    with pytest.raises(NotApplicable, match=f"more than move values: {name}"):
        lrp(Residual(function).double(), *case(5))


@pytest.mark.parametrize(
    "function, name, module",
    [
        (lambda hidden, _: torch.relu(hidden), "relu", "nn.ReLU"),
        (lambda hidden, _: functional.relu(hidden, inplace=True), "relu", "nn.ReLU"),
        (lambda hidden, _: hidden.tanh(), "tanh", "nn.Tanh"),
        (lambda hidden, _: functional.linear(hidden, torch.eye(5).double()), "linear", "nn.Linear"),
    ],
)
def test_functions_that_could_be_modules_are_refused(function, name, module):
    with pytest.raises(InvalidArgument) as caught:
        lrp(Residual(function).double(), *case(5))
    assert f"model: got calls of {name}" in str(caught.value)
    assert f"expected modules ({module}), since LRP would silently use" in str(caught.value)


@pytest.mark.parametrize(
    "module", [nn.GELU(), nn.LeakyReLU(), nn.LayerNorm(5), nn.Softmax(1), nn.BatchNorm1d(5)]
)
def test_modules_without_a_rule_are_named(module):
    model = nn.Sequential(nn.Linear(5, 5), module, nn.Linear(5, 3)).double().eval()
    with pytest.raises(NotApplicable) as caught:
        lrp(model, *case(5))
    assert str(caught.value) == (
        f"captum's LRP has no rule for modules of this type: 1 ({type(module).__name__})"
    )


def test_a_layer_that_is_used_twice_is_named():
    with pytest.raises(NotApplicable, match="does not support a module that is used twice: first"):
        lrp(Reused(layer=True).double(), *case(5))


@pytest.mark.parametrize("rule", ["gamma", "alpha1beta0"])
def test_negative_inputs_of_a_layer_are_refused_where_signs_matter(rule):
    model, (inputs, targets) = network(), case(5)
    with pytest.raises(
        NotApplicable, match="only for inputs >= 0; these layers have negative inputs: 0$"
    ):
        lrp(model, inputs - 0.5, targets, rule=rule)
    unrectified = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)).double()
    with pytest.raises(NotApplicable, match="these layers have negative inputs: 1$"):
        lrp(unrectified, inputs, targets, rule=rule)
    lrp(model, inputs - 0.5, targets)


@pytest.mark.parametrize("shape", [(2, 9), (1, 4, 4, 4)])
def test_signals_and_volumes_are_not_for_captum(shape):
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(3)).double()
    with pytest.raises(NotApplicable, match="explains inputs that are a table or image"):
        lrp(model, *case(*shape))


@pytest.mark.parametrize("options", [{}, {"rule": "gamma"}])
def test_cost(options):
    model, (inputs, targets), spent = network(), case(5), {"forward": 0, "backward": 0}

    def count(_, __, output):
        spent["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda _: spent.update(backward=spent["backward"] + len(output)))

    model.register_forward_hook(count)
    lrp(model, inputs, targets, **options)
    assert spent == {"forward": 3 * 4, "backward": 4}


def test_a_type_error_of_the_model_is_its_own():
    def fail(hidden, _):
        message = "no such thing"
        raise TypeError(message)

    with pytest.raises(TypeError, match="no such thing"):
        lrp(Residual(fail).double(), *case(5))


def test_the_default_stabiliser_is_below_rounding_in_either_dtype():
    """1e-9 takes about as much of a relevance in float64, where nothing else does."""
    model, (inputs, targets) = network(bias=False), case(5)
    output = model(inputs).gather(1, targets[:, None]).squeeze(1)
    lost = (lrp(model, inputs, targets).sum(1) - output).abs().max()
    assert lost < 1e-13
    assert (lrp(model, inputs, targets, epsilon=1e-9).sum(1) - output).abs().max() > 1e-11
    single = lrp(model.float(), inputs.float(), targets).double()
    assert torch.allclose(single.sum(1), output, atol=1e-4)


def test_the_default_stabiliser_of_pooling_is_below_rounding_as_well():
    torch.manual_seed(4)
    pooled = (nn.AvgPool2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(*pooled, nn.Linear(2, 3, bias=False)).double().eval()
    inputs = torch.rand(4, 2, 6, 6, dtype=torch.float64) + 0.1
    targets = torch.tensor([0, 1, 2, 0])
    output = model(inputs).gather(1, targets[:, None]).squeeze(1)
    maps = lrp(model, inputs, targets)
    assert (maps.flatten(1).sum(1) - output).abs().max() < 1e-14


def test_conservation_is_claimed_for_a_tiny_epsilon():
    def claims(**options):
        return set(explainers.get("captum:LRP", **options).traits.claims)

    assert claims() == {"dummy_feature", "relevance_conservation"}
    assert claims(epsilon=0.1) == {"dummy_feature"}
    assert claims(rule="gamma") == {"dummy_feature"}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rule": "zplus"}, "rule: got 'zplus', expected one of epsilon, gamma, alpha1beta0"),
        ({"epsilon": -1e-9}, "epsilon: got -1e-09, expected a number >= 0"),
        ({"gamma": float("nan")}, "gamma: got nan, expected a finite number"),
    ],
)
def test_options(options, message):
    with pytest.raises(InvalidArgument, match=message):
        explainers.get("captum:LRP", **options)
