"""Relevance is neither made nor lost: sum R = f(x), less what the biases absorb."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import input_x_gradient
from fixtures.wrong.sums import lrp_epsilon
from pytest_xai import explainers
from pytest_xai.checks.axiomatic import relevance_conservation
from pytest_xai.core.bias_terms import bias_absorption
from pytest_xai.diagnosis import Shares
from pytest_xai.protocol import named

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


# ------------------------------------------------------------------------ what cannot be told


def summed(weight, bias, *following):
    layers = (models.linear(torch.tensor(weight), torch.tensor(bias)), *following)
    return nn.Sequential(*layers).double().eval()


def test_a_value_of_exactly_zero_leaves_the_share_of_its_bias_open(verdict):
    """z = 1 - 1 = 0 for the first image: LRP-0 gives nothing, the gradient gives w x and b."""
    first = [[1.0, 0.0], [0.5, 0.5]], [-1.0, 0.25]
    model = summed(*first, models.linear(torch.tensor([[2.0, 1.0], [1.0, -1.0]]).double()))
    inputs = torch.tensor([[1.0, 0.5], [2.0, 0.5]]).double()
    zero = explainers.get("zennit:LRPZero")
    passed = verdict(CHECK, zero, xai.Subject(model, inputs, torch.tensor([0, 0])))
    assert (passed.outcome, passed.images) == ("passed", 1)
    assert "1 image left out: a layer's value is exactly zero" in passed.reason
    before_relu = summed(*first, nn.ReLU(), model[1])
    passed = verdict(CHECK, zero, xai.Subject(before_relu, inputs, torch.tensor([0, 0])))
    assert (passed.outcome, passed.images, passed.reason.count("exactly")) == ("passed", 2, 0)


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.Sigmoid()])
def test_the_share_of_biases_is_known_of_relu_networks_alone(activation, verdict):
    """LRP hands relevance through an activation; of it biases take b/z, which is no gradient."""
    model = summed([[1.0, -0.5], [0.5, 0.75]], [0.5, -0.25], activation)
    subject = xai.Subject(model, torch.tensor([[1.0, 0.5], [2.0, 0.25]]).double())
    open_ = verdict(CHECK, explainers.get("zennit:LRPZero"), subject)
    assert (open_.outcome, open_.images) == ("undecided", 0)
    assert "2 images left out: the share of the biases is not known" in open_.reason
    # Without biases, the input times the gradient is not f(x) either.
    assert verdict(CHECK, input_x_gradient, subject).outcome == "failed"
    stabilised = verdict(CHECK, explainers.get("zennit:LRPEpsilon"), subject)
    assert stabilised.outcome == "not_applicable"
    assert (
        "the share of its stabiliser cannot be determined: the network is not" in stabilised.reason
    )


@pytest.mark.parametrize("epsilon", [1e-6, 0.01, 0.25])
def test_zennits_stabiliser_of_any_size_is_declared(epsilon, verdict):
    model = models.chain(8, 6, 5, 3)
    inputs = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).double()
    epsilon_rule = explainers.get("zennit:LRPEpsilon", epsilon=epsilon)
    assert epsilon_rule.traits.method == ("lrp_epsilon" if epsilon == 1e-6 else "lrp_epsilon_other")
    passed = verdict(CHECK, epsilon_rule, xai.Subject(model, inputs))
    assert passed.outcome == "passed"

    def worse(*given):
        return 1.01 * epsilon_rule.call(*given)

    declared = xai.explainer(method=epsilon_rule.traits.method)(worse)
    assert verdict(CHECK, declared, xai.Subject(model, inputs)).outcome == "failed"


def test_what_is_stored_is_rounded_by_being_stored(finding):
    """Half precision rounds each value by up to 2^-11 of it."""
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double()
    inputs = torch.rand(4, 2).double()
    targets = torch.zeros(4).long()
    maps = (weight[0] * inputs).half()
    stored = explainers.from_maps(maps, sums_to="output")
    found, bench = finding(CHECK, stored, xai.Subject(models.linear(weight), inputs, targets))
    added = maps.double().abs().sum(1)[bench.images]
    size = added + bench.scores().abs()
    assert torch.allclose(found.limits, bench.rounding * size + 2**-11 * added, rtol=1e-12, atol=0)


@pytest.fixture
def measured():
    """A bench and the finding on maps that are 1/4 too small, of -1 and 2 where the output is 1."""
    weight = torch.tensor([[-1.0, 2.0], [0.0, 0.0]]).double()
    subject = xai.Subject(models.linear(weight), torch.ones(2, 2).double(), torch.zeros(2).long())
    bench = xai.Bench(subject)
    low = named(lambda *given: 0.75 * input_x_gradient(*given))
    yield bench, low, relevance_conservation._measure(bench, low)
    bench.close()


@pytest.mark.parametrize("share, kept", [(0.9, True), (1.1, False)])
@pytest.mark.parametrize("output, size", [(-1000.0, 1000.0), (1e-3, 2.25)])
def test_without_biases_all_is_kept_to_the_rounding_of_both_networks(
    output, size, share, kept, measured, monkeypatch
):
    bench, low, finding = measured
    outputs = torch.full((2,), output).double()
    off = finding.limits + share * bench.rounding * size

    def unbiased(*_):
        return outputs - off, outputs, torch.zeros(2, dtype=torch.bool)

    monkeypatch.setattr(relevance_conservation, "unbiased_sums", unbiased)
    left = relevance_conservation._without_biases(finding, bench, low)
    assert left.values.isnan().tolist() == [kept, kept]
    assert left.left_out["the share of the biases is not known"] == (2 if kept else 0)


@pytest.mark.parametrize("share, lost", [(0.9, False), (1.1, True)])
@pytest.mark.parametrize("output", [-1000.0, 1000.0])
def test_without_biases_nothing_is_lost_to_the_rounding_of_both_networks(
    output, share, lost, measured, monkeypatch
):
    bench, low, finding = measured
    outputs = torch.full((2,), output).double()
    missing = finding.limits + share * bench.rounding * abs(output)
    found = Shares(
        unstabilised=finding.facts["sum"],
        shrunk=finding.facts["sum"],
        bare=outputs - missing,
        bare_output=outputs,
    )
    for name, ours in (
        ("scales_with_units", lambda *_: True),
        ("with_location", lambda finding, *_, **__: replace(finding, cause="First wrong module.")),
        ("_with_layers", lambda finding, *_: finding),
    ):
        monkeypatch.setattr(relevance_conservation, name, ours)
    told = relevance_conservation._with_shares(finding, found, bench, low)
    assert told.cause.startswith("First wrong" if lost else "Biases take a share")
