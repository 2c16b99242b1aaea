"""zennit's rules of relevance propagation against their formulas, in plain loops."""

import pytest
import torch
from torch import nn

from fixtures import models
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.zennit import ENTRIES


def explain(name, model, inputs, targets, **options):
    return ENTRIES[f"zennit:{name}"].factory(**options)(model, inputs, targets)


def plus(value):
    return max(value, 0.0)


def minus(value):
    return min(value, 0.0)


def ratio(part, whole):
    return part / whole if whole else 0.0


def zero(a, w, b, epsilon=0.0):
    z = sum(x * y for x, y in zip(a, w, strict=True)) + b
    return [ratio(x * y, z + (epsilon if z >= 0 else -epsilon)) for x, y in zip(a, w, strict=True)]


def gamma(a, w, b):
    """Of positive outputs: positive summands count 1.25 times; of negative ones: the negative."""
    g, z = 0.25, sum(x * y for x, y in zip(a, w, strict=True)) + b
    favoured = plus if z > 0 else minus
    parts = [x * y + g * favoured(x * y) for x, y in zip(a, w, strict=True)]
    return [ratio(part, sum(parts) + b + g * favoured(b)) for part in parts]


def alpha_beta(a, w, b, alpha=2.0):
    parts = [x * y for x, y in zip(a, w, strict=True)]
    up = sum(plus(part) for part in parts) + plus(b)
    down = sum(minus(part) for part in parts) + minus(b)
    return [
        alpha * ratio(plus(part), up) - (alpha - 1) * ratio(minus(part), down) for part in parts
    ]


def z_plus(a, w, b):
    return alpha_beta(a, w, b, alpha=1.0)


def w_square(a, w, b):
    return [y * y / sum(v * v for v in w) for y in w]


def flat(a, w, b):
    return [1 / len(w) for _ in w]


def z_box(a, w, b, low=-3.0, high=4.0):
    parts = [x * y - low * plus(y) - high * minus(y) for x, y in zip(a, w, strict=True)]
    return [part / sum(parts) for part in parts]


def own_box(a, w, b):
    return z_box(a, w, b, low=min(a), high=max(a))


def without_bias(rule):
    return lambda a, w, b: rule(a, w, 0.0)


def loops(model, inputs, targets, first, above):
    """Relevance of a Linear - ReLU - Linear network, neuron by neuron."""
    one, two = model[0], model[2]
    maps = []
    for x, target in zip(inputs.tolist(), targets.tolist(), strict=True):
        hidden = [
            plus(sum(v * y for v, y in zip(x, row, strict=True)) + b)
            for row, b in zip(one.weight.tolist(), one.bias.tolist(), strict=True)
        ]
        row, b = two.weight[target].tolist(), two.bias[target].item()
        logit = sum(v * y for v, y in zip(hidden, row, strict=True)) + b
        relevance = [share * logit for share in above(hidden, row, b)]
        total = [0.0] * len(x)
        for k, r in enumerate(relevance):
            weights = one.weight[k].tolist()
            for j, share in enumerate(first(x, weights, one.bias[k].item())):
                total[j] += share * r
        maps.append(total)
    return torch.tensor(maps, dtype=torch.float64)


def case(count=12):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    return model, torch.randn(count, 4).double(), torch.arange(count) % 3


FORMULAS = [
    ("LRPZero", {}, zero, zero),
    ("LRPZero", {"biases": False}, without_bias(zero), without_bias(zero)),
    ("LRPEpsilon", {}, lambda *v: zero(*v, 1e-6), lambda *v: zero(*v, 1e-6)),
    ("LRPEpsilon", {"epsilon": 0.25}, lambda *v: zero(*v, 0.25), lambda *v: zero(*v, 0.25)),
    ("ZPlus", {}, z_plus, z_plus),
    ("ZPlus", {"biases": False}, without_bias(z_plus), without_bias(z_plus)),
    ("LRPGamma", {}, gamma, gamma),
    ("AlphaBeta", {}, alpha_beta, alpha_beta),
    ("AlphaBeta", {"biases": False}, without_bias(alpha_beta), without_bias(alpha_beta)),
    ("AlphaBeta", {"alpha": 3.0}, *[lambda *v: alpha_beta(*v, 3.0)] * 2),
    ("AlphaBeta", {"alpha": 1.0}, z_plus, z_plus),
    ("WSquare", {}, w_square, z_plus),
    ("WSquare", {"biases": False}, w_square, without_bias(z_plus)),
    ("Flat", {}, flat, z_plus),
    ("ZBox", {"low": -3.0, "high": 4.0}, z_box, z_plus),
    ("ZBox", {}, own_box, z_plus),
    ("ZBox", {"low": -3.0}, lambda a, w, b: z_box(a, w, b, high=max(a)), z_plus),
    ("DTD", {}, own_box, without_bias(z_plus)),
    ("DTD", {"low": -3.0, "high": 4.0}, z_box, without_bias(z_plus)),
    ("DTD", {"domain": "real"}, w_square, without_bias(z_plus)),
    ("EpsilonPlus", {}, lambda *v: zero(*v, 1e-6), lambda *v: zero(*v, 1e-6)),
    ("EpsilonPlusFlat", {"epsilon": 0.1}, flat, lambda *v: zero(*v, 0.1)),
    ("EpsilonAlpha2Beta1", {"epsilon": 0.1}, *[lambda *v: zero(*v, 0.1)] * 2),
    ("EpsilonAlpha2Beta1Flat", {}, flat, lambda *v: zero(*v, 1e-6)),
    ("EpsilonGammaBox", {"epsilon": 0.1}, *[lambda *v: zero(*v, 0.1)] * 2),
]


@pytest.mark.parametrize("name, options, first, above", FORMULAS)
def test_two_layers_in_loops(name, options, first, above):
    model, inputs, targets = case()
    expected = loops(model, inputs, targets, first, above)
    found = explain(name, model, inputs, targets, **options)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_rules_differ():
    """Else the loops above could hold for the wrong reasons."""
    model, inputs, targets = case()
    names = ["LRPZero", "LRPGamma", "ZPlus", "AlphaBeta", "WSquare", "Flat", "ZBox"]
    maps = torch.stack([explain(name, model, inputs, targets) for name in names])
    for one, name in enumerate(names):
        for two in range(one):
            assert (maps[one] - maps[two]).abs().max() > 0.01, (name, names[two])


def test_gamma_on_positive_inputs_is_the_rule_of_the_paper():
    torch.manual_seed(0)
    layer = nn.Linear(5, 1).double()
    inputs = torch.rand(6, 5).double()
    weight, bias = layer.weight[0].detach(), layer.bias.detach() + 3
    layer.bias.data.copy_(bias)
    terms = inputs * (weight + 0.5 * weight.clamp(min=0))
    shares = terms / (terms.sum(1, keepdim=True) + 1.5 * bias)
    expected = shares * layer(inputs).detach()
    found = explain("LRPGamma", layer, inputs, torch.zeros(6).long(), gamma=0.5)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def times_gradient(model, inputs, targets):
    values = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(values).gather(1, targets[:, None]).sum(), values)
    return (values * gradient).detach()


def deep(*, bias, norm=True):
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=bias),
        nn.BatchNorm2d(4) if norm else nn.Identity(),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(24, 5, bias=bias),
        nn.ReLU(),
        nn.Linear(5, 3, bias=bias),
    )
    model = model.double().eval()
    if norm:
        with torch.no_grad():
            model[1].running_mean.normal_(std=0.3)
            model[1].running_var.uniform_(0.5, 2)
            model[1].weight.uniform_(-1.5, 1.5)
            model[1].bias.normal_(std=0.3)
    return model, torch.rand(6, 2, 8, 8).double(), torch.arange(6) % 3


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_lrp_zero_is_input_times_gradient_on_relu_networks(bias, norm):
    model, inputs, targets = deep(bias=bias, norm=norm)
    expected = times_gradient(model, inputs, targets)
    found = explain("LRPZero", model, inputs, targets)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max()))


CONSERVING = [
    ("LRPZero", {"biases": False}, False),
    ("LRPGamma", {"biases": False}, False),
    ("ZPlus", {"biases": False}, False),
    ("WSquare", {"biases": False}, True),
    ("Flat", {"biases": False}, True),
    ("ZBox", {"biases": False}, False),
    ("DTD", {}, False),
    ("DTD", {"domain": "real"}, True),
    ("DTD", {"domain": "positive"}, False),
]


def claimed(name, options):
    return ENTRIES[f"zennit:{name}"].traits(options, library="zennit").claims


@pytest.mark.parametrize("name, options, promised", CONSERVING)
def test_relevance_is_conserved_where_every_neuron_has_summands(name, options, promised):
    """Promised is only what does not depend on the inputs of the first layer."""
    model, inputs, targets = deep(bias=True)
    assert ("relevance_conservation" in claimed(name, options)) == promised
    outputs = model(inputs).gather(1, targets[:, None]).squeeze(1).detach()
    maps = explain(name, model, inputs, targets, **options)
    size = maps.abs().flatten(1).sum(1) + outputs.abs()
    gaps = (maps.flatten(1).sum(1) - outputs).abs() / size
    assert gaps.max() < 1e-12


def test_lrp_zero_promises_what_the_biases_leave():
    exact = {"relevance_conservation", "linearity"}
    assert claimed("LRPZero", {}) >= exact
    assert not claimed("LRPZero", {"biases": False}) & exact


@pytest.mark.parametrize("name", ["LRPGamma", "ZPlus", "AlphaBeta", "Flat", "EpsilonPlus"])
def test_biases_absorb_relevance_where_conservation_is_not_claimed(name):
    model, inputs, targets = deep(bias=True)
    assert "relevance_conservation" not in claimed(name, {})
    outputs = model(inputs).gather(1, targets[:, None]).squeeze(1).detach()
    gaps = explain(name, model, inputs, targets).flatten(1).sum(1) - outputs
    assert gaps.abs().max() > 1e-2 * outputs.abs().max()


def test_a_large_epsilon_loses_most_of_the_relevance():
    """Reference figure for the docstring: nothing near conservation is left."""
    model, inputs, targets = case()
    sums = [
        explain("LRPEpsilon", model, inputs, targets, epsilon=value, biases=False).sum()
        for value in (1e-9, 1.0)
    ]
    assert abs(sums[1]) < 0.3 * abs(sums[0])


@pytest.mark.parametrize("name", ["LRPZero", "LRPGamma", "ZPlus", "AlphaBeta", "ZBox", "Flat"])
def test_neurons_of_exactly_zero_pass_nothing_on(name):
    """Black borders, dead units: no 0 / 0."""
    model, inputs, targets = deep(bias=False, norm=False)
    inputs[:, :, :5] = 0
    inputs[0] = 0
    maps = explain(name, model, inputs, targets)
    assert torch.isfinite(maps).all()
    assert (maps[0] == 0).all()
    # z-plus passes nothing on for an output without positive weights.
    assert (maps[1:].abs().amax((1, 2, 3)) > 0).sum() >= 4


def test_excitation_backprop_is_normalised_z_plus():
    model, inputs, targets = deep(bias=True)
    maps = explain("ExcitationBackprop", model, inputs, targets)
    relevance = explain("ZPlus", model, inputs, targets, biases=False)
    outputs = model(inputs).gather(1, targets[:, None]).detach()[..., None, None]
    torch.testing.assert_close(maps * outputs, relevance, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(maps.sum((1, 2, 3)), torch.ones(6).double())
    assert (maps >= 0).all()


BAD = [
    ("LRPZero", {"biases": 1}, "biases: got 1, expected true or false"),
    ("LRPEpsilon", {"epsilon": 0.0}, "epsilon: got 0.0, expected a number > 0"),
    ("LRPEpsilon", {"epsilon": float("nan")}, "epsilon: got nan, expected a finite number"),
    ("LRPGamma", {"gamma": -0.1}, "gamma: got -0.1, expected a number >= 0"),
    ("AlphaBeta", {"alpha": 0.9}, "alpha: got 0.9, expected a number >= 1"),
    ("AlphaBeta", {"alpha": 1e17}, "alpha: got 1e\\+17"),
    ("ZBox", {"low": 1.0, "high": 1.0}, "low: got 1.0, expected a number below high, 1.0"),
    ("ZBox", {"high": "1"}, "high: got '1', expected a finite number"),
    ("EpsilonPlus", {"epsilon": -1}, "epsilon: got -1, expected a number > 0"),
    ("EpsilonGammaBox", {"gamma": -1}, "gamma: got -1, expected a number >= 0"),
    ("EpsilonGammaBox", {"low": 2, "high": 1}, "low: got 2, expected a number below high, 1"),
    ("DTD", {"domain": "log"}, "domain: got 'log', expected one of pixels, real, positive"),
    ("DTD", {"domain": "real", "low": 0.0}, "domain: got 'real', expected \"pixels\""),
]


@pytest.mark.parametrize("name, options, message", BAD)
def test_wrong_options_are_refused_when_it_is_built(name, options, message):
    with pytest.raises(InvalidArgument, match=message):
        ENTRIES[f"zennit:{name}"].factory(**options)


@pytest.mark.parametrize("name", ["ZBox", "DTD", "EpsilonGammaBox"])
@pytest.mark.parametrize(
    "box, message",
    [
        ({"low": 0.0, "high": 0.5}, "high: got 0.5, expected a box that contains .* values from 0"),
        ({"low": 0.5}, "low: got 0.5, expected a box"),
    ],
)
def test_a_box_that_does_not_hold_the_inputs_is_refused(name, box, message):
    model, inputs, targets = deep(bias=True)
    inputs[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    with pytest.raises(InvalidArgument, match=message):
        explain(name, model, inputs, targets, **box)
    explain(name, model, inputs, targets, low=0.0, high=1.0)


def test_the_box_is_held_against_what_the_first_layer_reads():
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3).double()

        def forward(self, images):
            return self.layer((images - 0.5) / 0.25).flatten(1)

    torch.manual_seed(0)
    model, images, targets = Normalised(), torch.rand(3, 1, 4, 4).double(), torch.tensor([0, 1, 7])
    found = explain("ZBox", model, images, targets, low=-2.0, high=2.0)
    inner = nn.Sequential(model.layer, nn.Flatten())
    expected = explain("ZBox", inner, (images - 0.5) / 0.25, targets, low=-2.0, high=2.0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    with pytest.raises(InvalidArgument, match="low: got 0"):
        explain("ZBox", model, images, targets, low=0.0, high=1.0)


def test_deep_taylor_for_positive_inputs_refuses_negative_ones():
    model, inputs, targets = deep(bias=True)
    explain("DTD", model, inputs, targets, domain="positive")
    with pytest.raises(InvalidArgument, match="domain: got 'positive', expected \"pixels\" or"):
        explain("DTD", model, -inputs, targets, domain="positive")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_excitation_backprop_of_a_sum_with_a_negative_part_is_no_probability(sign):
    """x + W x with x = (1, 1/4): the sums' shares are signed, and the claim is not made."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            weight = sign * torch.tensor([[0.5, -0.5], [0.0, 0.5]]).double()
            self.layer = models.linear(weight)

        def forward(self, inputs):
            return inputs + self.layer(inputs)

    inputs, targets = torch.tensor([[1.0, 0.25]]).double(), torch.tensor([0])
    maps = explain("ExcitationBackprop", Residual(), inputs, targets)
    # 1 + 0.375 and 1 - 0.375; of W x the first value alone wins, of -W x the second.
    expected = [[1.0, 0.0]] if sign > 0 else [[1.6, -0.6]]
    assert torch.allclose(maps, torch.tensor(expected).double())
    assert "sign_convention" not in claimed("ExcitationBackprop", {})
