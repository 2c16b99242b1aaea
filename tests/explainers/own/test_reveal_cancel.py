"""DeepLIFT against closed forms, against Shapley's value neuron by neuron, and against captum."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from fixtures import models
from pytest_xai import check_explainer
from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.own import multipliers
from pytest_xai.explainers.own.reveal_cancel import ENTRIES
from pytest_xai.protocol import NamedExplainer
from pytest_xai.subjects import load_digits

CANCEL, RESCALE = "xai:DeepLiftRevealCancel", "xai:DeepLiftRescale"
BOTH = [CANCEL, RESCALE]
F64 = torch.float64


def explain(spec, model, inputs, targets, baseline=None):
    baseline = torch.zeros_like(inputs[:1]) if baseline is None else baseline
    return ENTRIES[spec].factory()(model, inputs, targets, baseline=baseline)


def two_layers(hidden, hidden_bias, output, output_bias=0.0):
    """A network of one ReLU layer; class 1 is the function, class 0 is there to be mistaken."""
    first = models.linear(torch.tensor(hidden, dtype=F64), torch.tensor(hidden_bias, dtype=F64))
    row = torch.tensor(output, dtype=F64)
    bias = torch.tensor([3.0, output_bias], dtype=F64)
    return nn.Sequential(first, nn.ReLU(), models.linear(torch.stack([row + 5, row]), bias)).eval()


def minimum():
    """min(x1, x2) = x1 - relu(x1 - x2) for x1 >= 0."""
    return two_layers([[1.0, 0.0], [1.0, -1.0]], [0.0, 0.0], [1.0, -1.0])


def saturation():
    """min(1, x1 + x2) = 1 - relu(1 - x1 - x2)."""
    return two_layers([[-1.0, -1.0]], [1.0], [-1.0], 1.0)


def conjunction():
    """relu(x1 + x2 - 1)."""
    return two_layers([[1.0, 1.0]], [-1.0], [1.0])


def difference():
    """relu(x1 - x2)."""
    return two_layers([[1.0, -1.0]], [0.0], [1.0])


# The reference's table of closed forms: model, point, RevealCancel, Rescale.
CLOSED = {
    "7": (minimum, (5, 3), (1.5, 1.5), (0, 3)),
    "8": (saturation, (1, 1), (0.5, 0.5), (0.5, 0.5)),
    "8b": (saturation, (2, 0.5), (0.8, 0.2), (0.8, 0.2)),
    "9": (conjunction, (1, 1), (0.5, 0.5), (0.5, 0.5)),
    "10": (saturation, (1, 0), (1, 0), (1, 0)),
    "11": (difference, (3, 1), (2.5, -0.5), (3, -1)),
    "11b": (difference, (1, 3), (0.5, -0.5), (0, 0)),
}


@pytest.mark.parametrize("row", CLOSED)
def test_closed_forms(row):
    build, point, cancel, rescale = CLOSED[row]
    inputs = torch.tensor([point], dtype=F64)
    for spec, expected in ((CANCEL, cancel), (RESCALE, rescale)):
        maps = explain(spec, build(), inputs, torch.tensor([1]))
        assert torch.allclose(maps, torch.tensor([expected], dtype=F64), atol=1e-14)


@pytest.mark.parametrize("spec", BOTH)
def test_linear_model_and_its_row_with_a_baseline(spec):
    torch.manual_seed(0)
    model = models.linear(torch.randn(3, 4, dtype=F64), torch.randn(3, dtype=F64))
    inputs, baseline = torch.randn(2, 2, 4, dtype=F64)
    targets = torch.tensor([2, 0])
    maps = explain(spec, model, inputs, targets, baseline)
    assert torch.allclose(maps, (inputs - baseline) * model.weight[targets], atol=1e-14)


def shapley(values, weights):
    """Shapley's value of both players (p, q) for relu at y0 + p + q, by orders of joining."""
    start, players = values, list(weights)
    shares = [0.0, 0.0]
    for order in itertools.permutations(range(2)):
        at = start
        for player in order:
            shares[player] += (max(at + players[player], 0) - max(at, 0)) / math.factorial(2)
            at += players[player]
    return shares


def test_one_neuron_is_shapleys_value_of_its_two_parts():
    """Inputs of one sign share their part in proportion to what they add to it."""
    torch.manual_seed(1)
    for _ in range(50):
        weight, bias = torch.randn(1, 5, dtype=F64), torch.randn(1, dtype=F64)
        model = nn.Sequential(models.linear(weight, bias), nn.ReLU())
        inputs, baseline = torch.randn(2, 1, 5, dtype=F64)
        maps = explain(CANCEL, model, inputs, torch.tensor([0]), baseline)
        added = ((inputs - baseline) * weight)[0]
        parts = added.clamp(min=0).sum().item(), added.clamp(max=0).sum().item()
        start = model[0](baseline).item()
        shares = shapley(start, parts)
        expected = [
            value / parts[value < 0] * shares[value < 0] if value else 0.0
            for value in added.tolist()
        ]
        assert torch.allclose(maps[0], torch.tensor(expected, dtype=F64), atol=1e-12)


def by_hand(model, inputs, baseline, target):
    """RevealCancel of Linear-ReLU chains for one input, in loops over neurons as in the paper."""
    at, reference = [inputs], [baseline]
    for layer in model:
        at.append(layer(at[-1]))
        reference.append(layer(reference[-1]))
    delta = inputs - baseline
    parts = [(delta.clamp(min=0), delta.clamp(max=0))]
    factors = []
    for index, layer in enumerate(model):
        up, down = parts[-1]
        if isinstance(layer, nn.Linear):
            added = layer.weight * (at[index] - reference[index])
            parts.append((added.clamp(min=0).sum(1), added.clamp(max=0).sum(1)))
            factors.append(None)
            continue
        shares = torch.tensor(
            [
                shapley(start, (p, q))
                for start, p, q in zip(
                    reference[index].tolist(), up.tolist(), down.tolist(), strict=True
                )
            ],
            dtype=F64,
        ).T
        parts.append((shares[0], shares[1]))
        factors.append(
            [
                torch.where(part != 0, share / part, 0)
                for share, part in zip(shares, (up, down), strict=True)
            ]
        )
    signal = [functional.one_hot(target, len(at[-1])).double()] * 2
    for index in reversed(range(len(model))):
        if factors[index] is not None:
            signal = [one * factor for one, factor in zip(signal, factors[index], strict=True)]
            continue
        weight = model[index].weight
        # Where a neuron stays silent, half of what its parts add belongs to either sign.
        share = ((weight * (at[index] - reference[index])).sign() + 1) / 2
        whole = (weight * (share * signal[0][:, None] + (1 - share) * signal[1][:, None])).sum(0)
        signal = [whole, whole]
    return signal[0] * delta


@pytest.mark.parametrize("sizes", [(5, 7, 3), (6, 8, 9, 4)])
def test_reveal_cancel_of_deep_networks_in_loops(sizes):
    model = models.chain(*sizes, seed=3)
    torch.manual_seed(2)
    inputs, baseline = torch.randn(2, 4, sizes[0], dtype=F64)
    targets = torch.tensor([2, 0, 1, 1])
    maps = explain(CANCEL, model, inputs, targets, baseline)
    for row in range(4):
        expected = by_hand(model, inputs[row], baseline[row], targets[row])
        assert torch.allclose(maps[row], expected, atol=1e-12)
    assert not torch.allclose(maps, explain(RESCALE, model, inputs, targets, baseline), atol=1e-3)


def test_without_cancelling_parts_the_two_rules_are_one():
    torch.manual_seed(3)
    layers = [nn.Linear(5, 6).double(), nn.ReLU(), nn.Linear(6, 4).double(), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(4, 2).double())
    for layer in (model[0], model[2]):
        layer.weight.data.abs_()
    inputs, baseline = torch.rand(3, 5, dtype=F64) + 0.1, torch.zeros(1, 5, dtype=F64)
    targets = torch.tensor([0, 1, 1])
    maps = [explain(spec, model, inputs, targets, baseline) for spec in BOTH]
    assert torch.allclose(*maps, atol=1e-14)


def captum_deep_lift(model, inputs, targets, baseline):
    captum = pytest.importorskip("captum.attr")
    maps = captum.DeepLift(model).attribute(
        inputs.clone().requires_grad_(), baselines=baseline, target=targets
    )
    return maps.detach()


class Small(nn.Module):
    """Where captum is right: modules, each used once, and no nonlinear module after another."""

    def __init__(self):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(2, 4, 3, padding=1, stride=2), nn.ReLU()
        self.conv2, self.pool = nn.Conv2d(4, 5, 3, groups=1, dilation=1), nn.MaxPool2d(2)
        self.conv3, self.gelu = nn.Conv2d(5, 4, 1), nn.Sigmoid()
        self.mean, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, inputs):
        hidden = self.pool(self.conv2(self.relu1(self.conv1(inputs))))
        return self.head(self.mean(self.gelu(self.conv3(hidden))).flatten(1))


@pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks:UserWarning")
@pytest.mark.parametrize("seed", range(3))
def test_rescale_is_captums_where_captum_is_right(seed):
    torch.manual_seed(seed)
    model = Small().double().eval()
    inputs, baseline = torch.rand(3, 2, 12, 12, dtype=F64), torch.rand(1, 2, 12, 12, dtype=F64)
    targets = torch.tensor([0, 2, 1])
    maps = explain(RESCALE, model, inputs, targets, baseline)
    expected = captum_deep_lift(model, inputs, targets, baseline)
    assert torch.allclose(maps, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


def delta(model, inputs, baseline, targets):
    with torch.no_grad():
        return (model(inputs) - model(baseline)).gather(1, targets[:, None])[:, 0]


def sequential(*layers, shape=(2, 8, 8)):
    torch.manual_seed(5)
    model = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3)).eval()
    model(torch.zeros(1, *shape))
    return model.double()


def conv(*args, **options):
    return nn.Conv2d(*args, **options)


def norm(channels):
    layer = nn.BatchNorm2d(channels)
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.5, 2)
    layer.weight.data.uniform_(-1, 1)
    layer.bias.data.uniform_(-1, 1)
    return layer


class Block(nn.Module):
    """A residual block; before the sum (post-activation) or with a ReLU whose input is reused."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=kind == "in place")

    def forward(self, hidden):
        if self.kind == "pre-activation":
            return hidden + self.conv(self.relu(hidden))
        if self.kind == "in place":
            made = self.conv(hidden)
            made += hidden
            return self.relu(made)
        return self.relu(self.conv(functional.relu(hidden)) * 2 - 0.5 * hidden + 1)


class Named(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, hidden):
        return self.function(hidden)


RELU = nn.ReLU()
MATRIX = torch.linspace(-1, 1, 640).view(128, 5)
NETWORKS = {
    "ReLU before MaxPool": (conv(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "MaxPool before ReLU": (conv(2, 4, 3), nn.MaxPool2d(2), nn.ReLU()),
    "overlapping MaxPool": (conv(2, 4, 3), nn.MaxPool2d(3, 1, padding=1), nn.ReLU(), conv(4, 4, 3)),
    "dilated MaxPool": (conv(2, 4, 3), nn.MaxPool2d(2, 2, dilation=2, ceil_mode=True), nn.ReLU()),
    "adaptive MaxPool": (conv(2, 4, 3), nn.AdaptiveMaxPool2d(4), nn.ReLU(), conv(4, 4, 3)),
    "reused": (conv(2, 4, 3), RELU, conv(4, 4, 3), RELU),
    "in place": (conv(2, 4, 3), nn.ReLU(inplace=True), conv(4, 4, 3), nn.ELU(inplace=True)),
    "BatchNorm": (conv(2, 4, 3), norm(4), nn.LeakyReLU(), nn.AvgPool2d(3, 1), norm(4), nn.Tanh()),
    "dropout": (conv(2, 4, 3), nn.Dropout(0.9), nn.GELU(), nn.Identity(), nn.Dropout2d()),
    "transposed": (nn.ConvTranspose2d(2, 4, 3), nn.ReLU(), conv(4, 2, 3, groups=2), nn.ReLU6()),
    "upsampled": (conv(2, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.SiLU()),
    "padding": (conv(2, 4, 3, padding=1, padding_mode="circular"), nn.ZeroPad2d(1), nn.Softplus()),
    "constant border": (conv(2, 4, 3), nn.ConstantPad2d(1, 3.5), conv(4, 4, 3), nn.ReLU()),
    "pre-activation": (conv(2, 4, 3), Block("pre-activation"), nn.ReLU()),
    "sum in place": (conv(2, 4, 3), Block("in place"), conv(4, 4, 3)),
    "scaled sum": (conv(2, 4, 3), Block("scaled"), conv(4, 4, 3)),
    "functions": (
        Named(lambda x: functional.max_pool2d(torch.relu(x - 0.2), 2)),
        Named(lambda x: torch.cat([x, 1 - x, -x / 2], 1)),
        Named(lambda x: functional.leaky_relu_(x * torch.linspace(-1, 2, 6).view(6, 1, 1))),
        Named(lambda x: torch.stack([x.relu_(), x], 1).mean(1).clamp(min=0.1)),
    ),
    "shapes": (
        conv(2, 4, 3),
        Named(lambda x: x.view(len(x), 2, 2, *x.shape[2:])[:, :, 1].permute(0, 2, 1, 3)),
        Named(lambda x: sum(x.split(3, 3)).relu().transpose(1, 2).contiguous()),
        Named(lambda x: x.unbind(3)[0][..., None] - x.expand(-1, -1, -1, 3) + torch.ones(1)),
    ),
    "matrix": (nn.Flatten(), Named(lambda x: (x @ MATRIX.to(x.dtype)).tanh())),
}  # fmt: skip


@pytest.mark.parametrize("spec", BOTH)
@pytest.mark.parametrize("name", NETWORKS)
def test_sum_to_delta_where_libraries_are_wrong(spec, name):
    model = sequential(*copy.deepcopy(NETWORKS[name]))
    inputs, baseline = torch.rand(3, 2, 8, 8, dtype=F64), torch.rand(1, 2, 8, 8, dtype=F64)
    targets = torch.tensor([0, 2, 1])
    maps = explain(spec, model, inputs, targets, baseline)
    expected = delta(model, inputs, baseline, targets)
    assert expected.abs().min() > 1e-6
    assert torch.allclose(maps.flatten(1).sum(1), expected, rtol=0, atol=1e-13)
    assert (maps != 0).any()


@pytest.mark.parametrize("spec", BOTH)
@pytest.mark.parametrize("build", [models.functional_net, models.normed, models.signal_net])
@pytest.mark.parametrize("dtype, tolerance", [(F64, 1e-14), (torch.float32, 1e-5)])
def test_sum_to_delta_of_the_shared_models(spec, build, dtype, tolerance):
    shape = {"functional_net": (1, 6, 6), "normed": (2, 5, 4), "signal_net": (2, 9)}
    model = build().to(dtype)
    torch.manual_seed(0)
    inputs, baseline = torch.randn(2, 3, *shape[build.__name__], dtype=dtype)
    targets = torch.tensor([0, 2, 1])
    maps = explain(spec, model, inputs, targets, baseline)
    assert maps.dtype == dtype
    gap = maps.flatten(1).sum(1) - delta(model, inputs, baseline, targets)
    assert gap.abs().max() < tolerance


@pytest.mark.parametrize("spec", BOTH)
def test_volumes(spec):
    torch.manual_seed(0)
    layers = [nn.Conv3d(2, 3, 3), nn.ReLU(), nn.MaxPool3d(2, 1), nn.BatchNorm3d(3).eval()]
    model = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()).double()
    inputs, baseline = torch.rand(2, 2, 2, 5, 5, 5, dtype=F64)
    targets = torch.tensor([0, 2])
    maps = explain(spec, model, inputs, targets, baseline)
    expected = delta(model, inputs, baseline, targets)
    assert torch.allclose(maps.flatten(1).sum(1), expected, atol=1e-13)


def test_max_pool_goes_to_the_place_of_the_larger_maximum():
    """Row 6b of the reference's table, max(5, 3) with baseline (1, 4), and its mirror image."""
    model = nn.Sequential(nn.Unflatten(1, (1, 2)), nn.MaxPool1d(2), nn.Flatten())
    points = torch.tensor([[5.0, 3.0], [1.0, 4.0]], dtype=F64)
    maps = explain(RESCALE, model, points, torch.tensor([0, 0]), points.flip(0))
    assert torch.equal(maps, torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=F64))
    split = models.linear(torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=F64))
    both = nn.Sequential(split, model)
    maps = explain(CANCEL, both, points[:1], torch.tensor([0]))
    # The larger, 8 = 5 + 3, wins against 2.
    assert torch.equal(maps, points[:1])


def test_batch_norm_gives_what_folding_it_gives():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3), norm(4)]
    tail = [nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)]
    model = nn.Sequential(*layers, *tail).double().eval()
    folded = nn.Sequential(nn.utils.fuse_conv_bn_eval(*model[:2]), *tail).eval()
    inputs, baseline = torch.rand(2, 2, 2, 6, 6, dtype=F64)
    targets = torch.tensor([0, 2])
    maps = [explain(CANCEL, each, inputs, targets, baseline) for each in (model, folded)]
    assert torch.allclose(*maps, atol=1e-14)


def test_slope_is_the_derivative_where_the_ends_are_one():
    ends = torch.tensor([-1.0, 0.0, 2.0, 2.0], dtype=F64)
    starts = torch.tensor([-1.0, 0.0, 2.0 * (1 + 2e-16), -2.0], dtype=F64)
    found = multipliers.slope(torch.relu, starts, ends)
    assert found.tolist() == [0.0, 0.0, 1.0, 0.5]


def test_a_zero_difference_with_parts_splits_them_evenly():
    """Row 11b once more, after a layer whose argument does not change while its parts do."""
    first = torch.tensor([[1.0, -1.0], [1.0, 0.0]], dtype=F64)
    model = nn.Sequential(models.linear(first), models.linear(torch.eye(2, dtype=F64)))
    maps = explain(CANCEL, model, torch.ones(1, 2, dtype=F64), torch.tensor([0]))
    assert torch.equal(maps, torch.tensor([[1.0, -1.0]], dtype=F64))


@pytest.mark.parametrize("spec", BOTH)
@pytest.mark.parametrize(
    "function, operation",
    [
        (lambda x: x.softmax(1), "softmax"),
        (lambda x: x * x, "a product or quotient of two activations"),
        (torch.reciprocal, "reciprocal"),
        (lambda x: torch.ones(4, 2, 6, 6) / x, "a division by an activation"),
        (lambda x: x / x, "a product or quotient of two activations"),
        (lambda x: torch.maximum(x, 1 - x), "maximum"),
        (lambda x: x * (x > 0), "gt"),
        (lambda x: functional.layer_norm(x, x.shape[1:]), "layer_norm"),
        (lambda x: functional.dropout(x, 0.5), "dropout while training"),
        (
            lambda x: functional.batch_norm(x, None, None, training=True),
            "a batch normalisation with",
        ),
        (lambda x: x.add(x, alpha=2), "add with alpha"),
        (lambda x: x - x.mean(0), "mean along the images of a batch"),
        (lambda x: x - x.mean(), "mean along the images of a batch"),
        (lambda x: functional.interpolate(x, size=4, mode="bicubic"), "mode 'bicubic'"),
        (lambda x: functional.conv2d(x, x.clone()), "conv2d"),
        (lambda x: torch.ones(2, 2, dtype=F64) @ x, "matmul"),
        (lambda x: torch.zeros_like(x) + x.data, "zeros_like"),
        (lambda x: x.data + 1, "data"),
        (lambda x: torch.zeros(x.shape, dtype=F64).add_(x), "writing an activation into"),
    ],
)
def test_operations_without_a_rule_are_named(spec, function, operation):
    model = nn.Sequential(Named(function), nn.Flatten())
    with pytest.raises(NotApplicable) as caught:
        explain(spec, model, torch.rand(2, 2, 6, 6, dtype=F64) + 0.1, torch.tensor([0, 1]))
    assert operation in str(caught.value)
    assert str(caught.value).startswith("DeepLIFT has no rule for ")


def through_a_view(x):
    hidden = 2 * x
    hidden.flatten(1).relu_()
    return hidden.flatten(1)


@pytest.mark.parametrize(
    "function, reason",
    [
        (through_a_view, "writes into an activation through a view"),
        (lambda x: torch.from_numpy(x.detach().as_subclass(torch.Tensor).numpy()).flatten(1),
         "does not come from its input"),
        (lambda x: x.flatten(1).permute(1, 0)[:4], "do not add up"),
    ],
)  # fmt: skip
def test_what_no_rule_sees_is_noticed(function, reason):
    inputs = torch.randn(2, 1, 2, 2, dtype=F64)
    with pytest.raises(NotApplicable, match=reason):
        explain(RESCALE, Named(function), inputs, torch.tensor([0, 1]))


def test_training_mode_is_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 2))
    with pytest.raises(NotApplicable, match="dropout while training"):
        explain(CANCEL, model, torch.rand(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize("spec", BOTH)
def test_constant_model_gets_zeros(spec):
    class Constant(nn.Module):
        def forward(self, inputs):
            return inputs.flatten(1)[:, :2] * 0 + 3

    inputs = torch.rand(2, 4, dtype=F64)
    assert torch.equal(
        explain(spec, Constant(), inputs, torch.tensor([0, 1])), torch.zeros_like(inputs)
    )


@pytest.mark.parametrize("spec", BOTH)
def test_runs_without_traces_whatever_the_grad_mode(spec):
    model = models.normed()
    model.conv1.weight.requires_grad_(requires_grad=False)
    state = copy.deepcopy(model.state_dict())
    inputs = torch.randn(3, 2, 6, 5, dtype=F64)
    before, random = inputs.clone(), torch.get_rng_state()
    targets = torch.tensor([0, 2, 1])
    maps = explain(spec, model, inputs, targets)
    with torch.no_grad():
        again = explain(spec, model, inputs, targets)
    alone = torch.cat(
        [explain(spec, model, inputs[i : i + 1], targets[i : i + 1]) for i in range(3)]
    )
    assert torch.equal(maps, again)
    assert torch.allclose(maps, alone, rtol=0, atol=1e-14)
    assert type(maps) is torch.Tensor
    assert not maps.requires_grad
    assert torch.equal(inputs, before)
    assert torch.equal(random, torch.get_rng_state())
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("spec", BOTH)
def test_cost_is_two_forward_passes(spec):
    model, spent = models.chain(4, 5, 3), []
    model.register_forward_hook(
        lambda _, __, output: spent.append((len(output), output.requires_grad))
    )
    explain(spec, model, torch.randn(6, 4, dtype=F64), torch.zeros(6, dtype=torch.long))
    assert spent == [(12, False)]
    assert ENTRIES[spec].cost == "2 forward"


def test_many_inputs_go_in_parts(monkeypatch):
    monkeypatch.setattr("pytest_xai.explainers.own.reveal_cancel.images_per_pass", lambda _: 5)
    model, spent = models.chain(4, 5, 3), []
    inputs, targets = torch.randn(5, 4, dtype=F64), torch.tensor([0, 1, 2, 0, 1])
    expected = explain(CANCEL, models.chain(4, 5, 3), inputs, targets)
    model.register_forward_hook(lambda _, __, output: spent.append(len(output)))
    maps = explain(CANCEL, model, inputs, targets)
    assert torch.allclose(maps, expected, atol=1e-14)
    assert spent == [4, 4, 2]


@pytest.mark.parametrize("spec", BOTH)
def test_gate_on_digits(spec):
    entry = ENTRIES[spec]
    named = NamedExplainer(name=spec, call=entry.factory(), traits=entry.traits({}, library="own"))
    names = [
        "summation_to_delta",
        "dummy_feature",
        "linearity",
        "side_effects",
        "batch_independent",
    ]
    report = check_explainer(named, load_digits(16), checks=names, on_fail="ignore")
    assert {verdict.check: verdict.outcome for verdict in report} == dict.fromkeys(names, "passed")


def test_digits_sum_up_where_captums_do_not():
    subject = load_digits(32).double()
    maps = explain(RESCALE, subject.model, subject.inputs, subject.targets, subject.baseline)
    expected = delta(subject.model, subject.inputs, subject.baseline, subject.targets)
    assert (maps.flatten(1).sum(1) - expected).abs().max() < 1e-13
