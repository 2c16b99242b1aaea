"""Relevance is neither made nor lost: sum R = f(x), less what the biases absorb."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import pytest_xai as xai
from fixtures import models
from fixtures.right import input_x_gradient
from fixtures.wrong.axioms import lrp_epsilon
from pytest_xai.anatomy import bias_absorption
from pytest_xai.subjects.digits import load_digits_model

CHECK = "relevance_conservation"


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "one_logit", "scalar"])
@pytest.mark.parametrize(
    "explainer", [input_x_gradient, lrp_epsilon(0.0)], ids=["product", "lrp_0"]
)
def test_lrp_0_passes_on_every_relu_network(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert "Biases absorb" in passed.reason


@pytest.mark.parametrize("epsilon", [0.0, 1e-9])
def test_a_small_stabiliser_passes_and_a_large_one_fails(epsilon, verdict, digits):
    """The digits are in float32, whose tolerance an epsilon of 1e-9 keeps."""
    assert verdict(CHECK, lrp_epsilon(epsilon), digits).outcome == "passed"
    assert verdict(CHECK, lrp_epsilon(1e-2), digits).outcome == "failed"


# ------------------------------------------------------------------------------- what biases absorb


class InPlace(nn.Module):
    """A ReLU that overwrites its input, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(5, 5, bias=False)
        self.last = nn.Linear(5, 3)

    def forward(self, inputs):
        hidden = functional.relu_(self.first(inputs))
        hidden = functional.relu(self.second(hidden) + self.second(hidden.flip(1)))
        return self.last(hidden)


def in_place():
    torch.manual_seed(0)
    return InPlace().double().eval()


def one_dimensional_norm():
    torch.manual_seed(0)
    layers = [nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(inplace=True)]
    layers += [nn.Flatten(), nn.Linear(48, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)]
    model = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(2)
    for norm in (model[1], model[5]):
        norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator))
        norm.running_var.copy_(torch.rand(norm.num_features, generator=generator) + 0.5)
        nn.init.normal_(norm.weight, generator=generator)
        nn.init.normal_(norm.bias, generator=generator)
    return model.double().eval()


def residual():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = models.chain(6, 6, 6)
            self.head = nn.Linear(6, 3)

        def forward(self, inputs):
            return self.head(functional.relu(inputs + self.inner(inputs)))

    torch.manual_seed(0)
    return Residual().double().eval()


def volumes():
    torch.manual_seed(0)
    layers = (nn.Conv3d(1, 2, 2), nn.ReLU(), nn.BatchNorm3d(2), nn.MaxPool3d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(2, 3)).double().eval()


def transposed():
    torch.manual_seed(0)
    layers = (nn.ConvTranspose2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(75, 3))
    return nn.Sequential(*layers).double().eval()


def over_time():
    """A linear layer whose features are the last of three axes."""
    torch.manual_seed(0)
    layers = (nn.Linear(5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
    return nn.Sequential(*layers).double().eval()


NETWORKS = {
    "linear": (lambda: models.linear(torch.ones(3, 4).double(), torch.rand(3)), (4,)),
    "chain": (lambda: models.chain(5, 8, 6, 3), (5,)),
    "one logit": (lambda: models.chain(5, 8, 1), (5,)),
    "functional, run twice": (models.functional_net, (1, 6, 6)),
    "shared ReLU": (models.shared_relu, (5,)),
    "in place, called twice": (in_place, (6,)),
    "convolution over time": (models.signal_net, (2, 12)),
    "digits": (lambda: load_digits_model().double(), (1, 8, 8)),
    "batch norms": (models.normed, (2, 6, 5)),
    "batch norms of tables and signals": (one_dimensional_norm, (2, 12)),
    "residual sum": (residual, (6,)),
    "volumes": (volumes, (1, 4, 4, 4)),
    "transposed convolution": (transposed, (1, 4, 4)),
    "linear over the last axis": (over_time, (3, 5)),
}
NORMED = {"batch norms", "batch norms of tables and signals", "volumes"}

every_network = pytest.mark.parametrize("name", NETWORKS)


def asked(name):
    make, shape = NETWORKS[name]
    model = make()
    inputs = torch.randn(6, *shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        targets = torch.arange(6) % model(inputs).shape[1]
    return model, inputs, targets


@every_network
def test_absorption_is_what_the_product_of_input_and_gradient_lacks(name):
    """Euler's identity: f is linear where it is, f = x df/dx + what the constants make of it."""
    model, inputs, targets = asked(name)
    scores = model(inputs).gather(1, targets[:, None]).squeeze(1).detach()
    sums = input_x_gradient(model, inputs, targets).flatten(1).sum(1)
    absorbed = bias_absorption(model, inputs, targets)
    assert absorbed.abs().max() > 1e-3
    assert torch.allclose(absorbed, scores - sums, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - NORMED))
def test_absorption_is_the_sum_over_all_biases_of_b_df_db(name):
    """By autograd on the bias parameters, image by image."""
    model, inputs, targets = asked(name)
    biases = [value for key, value in model.named_parameters() if key.endswith("bias")]
    assert biases
    expected = []
    for image, target in zip(inputs, targets, strict=True):
        slopes = torch.autograd.grad(model(image[None])[0, target], biases)
        expected.append(sum((b * s).sum() for b, s in zip(biases, slopes, strict=True)))
    absorbed = bias_absorption(model, inputs, targets)
    assert torch.allclose(absorbed, torch.stack(expected).detach(), rtol=0, atol=1e-12)


@every_network
def test_absorption_leaves_the_model_as_it_was(name, photograph, changed):
    model, inputs, targets = asked(name)
    before = photograph(model)
    bias_absorption(model, inputs, targets)
    assert changed(before, photograph(model)) == []


def test_a_model_without_constants_absorbs_nothing():
    model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False))
    absorbed = bias_absorption(model, torch.rand(3, 4), torch.tensor([0, 1, 1]))
    assert absorbed.tolist() == [0, 0, 0]
    assert bias_absorption(models.Product(), torch.rand(3, 2), torch.zeros(3).long()).sum() == 0


def test_a_bias_that_the_target_does_not_depend_on_absorbs_nothing():
    weight, bias = torch.eye(3).double(), torch.tensor([1.0, 2.0, 4.0]).double()
    targets = torch.tensor([0, 1, 2, 1])
    absorbed = bias_absorption(models.linear(weight, bias), torch.rand(4, 3).double(), targets)
    assert absorbed.tolist() == [1, 2, 4, 2]


# ----------------------------------------------------------------------------------------- verdicts


def test_numbers_of_a_linear_model(finding):
    """R = w x: the sum is f(x) - b, the bias absorbs b."""
    weight, bias = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double(), torch.tensor([0.5, -1.5])
    subject = xai.Subject(models.linear(weight, bias.double()), torch.rand(32, 2).double())
    found, bench = finding(CHECK, input_x_gradient, subject)
    own = bias.double()[bench.targets]
    total = (weight[bench.targets] * bench.inputs).sum(1)
    expected = {
        "sum": total,
        "f(x)": total + own,
        "absorbed by biases": own,
        "gap": own.abs(),
        "gap less biases": torch.zeros(32).double(),
    }
    assert list(found.facts) == list(expected)
    for name, values in expected.items():
        assert torch.allclose(found.facts[name], values, rtol=0, atol=1e-14), name
    assert (found.values <= found.limits).all()
    share = own.abs().sum() / (total + own).abs().sum()
    assert found.notes == (f"Biases absorb {share:.1%} of |f(x)| under LRP-0.",)
    size = (weight[bench.targets] * bench.inputs).abs().sum(1) + (total + own).abs() + own.abs()
    # One layer, fan-in 2.
    unit = 8 * torch.finfo(torch.float64).eps * 2**0.5
    assert torch.allclose(found.limits, unit * size, rtol=1e-9, atol=0)


@pytest.mark.parametrize("handed_on, outcome", [(0.0, "passed"), (0.5, "failed"), (1.0, "passed")])
def test_all_of_the_biases_or_none_may_be_handed_on(handed_on, outcome, verdict, table):
    def explain(model, inputs, targets):
        absorbed = bias_absorption(model, inputs, targets)
        share = handed_on * absorbed / inputs[0].numel()
        return input_x_gradient(model, inputs, targets) + share[:, None]

    assert verdict(CHECK, explain, table).outcome == outcome


def test_the_figure_is_the_nearer_of_both_gaps(finding, table):
    """An image hands on a share s of what its biases absorb: (1 - s) or s of it is missing."""
    share = torch.linspace(0, 1, 32).double()

    def explain(model, inputs, targets):
        handed_on = share * bias_absorption(model, inputs, targets)
        return input_x_gradient(model, inputs, targets) + handed_on[:, None] / 20

    found, bench = finding(CHECK, explain, table)
    absorbed = bias_absorption(table.model, bench.inputs, bench.targets).abs()
    assert torch.allclose(found.facts["gap"], (1 - share) * absorbed, atol=1e-12)
    assert torch.allclose(found.facts["gap less biases"], share * absorbed, atol=1e-12)
    assert torch.allclose(found.values, torch.minimum(share, 1 - share) * absorbed, atol=1e-12)


@pytest.mark.parametrize("epsilon", [0.01, 0.25])
def test_what_epsilon_absorbs_in_one_layer(epsilon, finding):
    """Reference E.1: the sum is (z - b) z / (z + epsilon sign z)."""
    weight, bias = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double(), torch.tensor([0.5, -1.5])
    inputs = torch.randn(32, 2, generator=torch.Generator().manual_seed(1)).double()
    subject = xai.Subject(models.linear(weight, bias.double()), inputs)
    found, bench = finding(CHECK, lrp_epsilon(epsilon), subject)
    output = bench.scores()
    own = bias.double()[bench.targets]
    expected = (output - own) * output / (output + epsilon * output.sign())
    assert torch.allclose(found.facts["sum"], expected)
    assert (found.values > found.limits).all()


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (3.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict):
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double()
    unit = 8 * torch.finfo(torch.float64).eps * 2**0.5

    def explain(model, inputs, targets):
        maps = weight[targets] * inputs
        maps[:, 0] += share * unit * (maps.abs().sum(1) + maps.sum(1).abs())
        return maps

    subject = xai.Subject(models.linear(weight), torch.rand(32, 2).double())
    assert verdict(CHECK, explain, subject).outcome == outcome


def test_a_gap_of_float32_is_decided_in_float64(verdict, digits):
    def explain(model, inputs, targets):
        maps = input_x_gradient(model, inputs, targets)
        return maps * 1.01 if maps.dtype == torch.float32 else maps

    passed = verdict(CHECK, explain, digits)
    assert passed.outcome == "passed"
    assert "Decided in float64: the float32 difference is rounding." in passed.reason


class Keeping(nn.Module):
    """Keeps its last activations, and with them a graph that no copy can be made of."""

    def __init__(self):
        super().__init__()
        self.body = models.chain(6, 5, 3).float()

    def forward(self, inputs):
        self.kept = self.body[:2](inputs)
        return self.body[2:](self.kept)


def test_a_model_that_keeps_its_activations_is_copied_all_the_same(verdict):
    def explain(model, inputs, targets):
        maps = input_x_gradient(model, inputs, targets)
        return maps * 1.01 if maps.dtype == torch.float32 else maps

    passed = verdict(CHECK, explain, xai.Subject(Keeping().eval(), torch.rand(8, 6)))
    assert passed.outcome == "passed"
    assert "Decided in float64" in passed.reason


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm([4, 6, 6])]
)
def test_a_normalisation_without_a_rule_fails_and_is_no_error(norm, verdict):
    nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(0))
    layers = (nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    subject = xai.Subject(nn.Sequential(*layers).eval(), torch.rand(8, 1, 6, 6))
    failed = verdict(CHECK, input_x_gradient, subject)
    assert failed.outcome == "failed"
    assert "a normalisation without a rule" in failed.reason
