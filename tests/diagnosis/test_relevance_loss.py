"""The relevance that biases, a stabiliser or losses take, in total and per layer."""

import re

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import input_x_gradient
from fixtures.wrong.sums import lrp_epsilon, scaled_at
from pytest_xai import checks, explainers
from pytest_xai.core.bias_terms import scale_constants
from pytest_xai.core.finding import Finding
from pytest_xai.diagnosis import by_layer, scales_with_units, shares, unbiased_sums
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import named

CHECK = "relevance_conservation"


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def judged(explainer, model, inputs):
    bench = xai.Bench(xai.Subject(model, inputs))
    try:
        task = Task(check=checks.get(CHECK), explainer=named(explainer), asserted=True)
        return run_check(bench, task)
    finally:
        bench.close()


def sums(bench, explainer):
    """A check whose figure is the sum of the map."""
    total = bench.explain(explainer, bench.inputs).flatten(1).sum(1)
    facts = {"sum": total, "f(x)": bench.scores(), "absorbed by biases": torch.zeros(len(total))}
    return Finding(values=total.abs() + 1, facts=facts)


# ------------------------------------------------------------------ the balance of one biased layer


def layer(bias=True):
    """Ten summands, a bias, one output: z > 0."""
    weight, offset = drawn(1, 10, seed=3), torch.tensor([0.7]).double()
    inputs = drawn(1, 10, seed=4).abs()
    return weight, offset if bias else 0 * offset, inputs


def balance(rule, weight, bias, inputs):
    """What reaches the inputs of a layer, z entering: the exact balance of the rule."""
    parts, z = inputs * weight, (inputs * weight).sum() + bias
    if rule == "LRPZero":
        return z - bias
    if rule == "LRPEpsilon":
        return z * (z - bias) / (z + 0.25 * z.sign())
    if rule == "LRPGamma":
        plus = parts + 0.25 * inputs * weight.clamp(min=0)
        return z * plus.sum() / (plus.sum() + bias + 0.25 * bias.clamp(min=0))
    if rule == "AlphaBeta":
        up = parts.clamp(min=0).sum() / (parts.clamp(min=0).sum() + bias.clamp(min=0))
        down = parts.clamp(max=0).sum() / (parts.clamp(max=0).sum() + bias.clamp(max=0))
        return z * (2 * up - down)
    return z


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "rule, options",
    [
        ("LRPZero", {}),
        ("LRPEpsilon", {"epsilon": 0.25}),
        ("LRPGamma", {"gamma": 0.25}),
        ("AlphaBeta", {"alpha": 2.0}),
        ("ZBox", {"low": -9.0, "high": 9.0}),
        ("WSquare", {}),
        ("Flat", {}),
    ],
)
def test_every_rule_keeps_the_balance_of_its_layer(rule, options, bias):
    """At the last layer of two, whose input is the hidden activations."""
    weight, offset, inputs = layer(bias)
    model = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), models.linear(weight, offset)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(10))
        model[0].bias.zero_()
    bench = xai.Bench(xai.Subject(model.eval(), inputs))
    explainer = explainers.get(f"zennit:{rule}", **options)
    try:
        told = by_layer(bench, explainer, measure=sums, images=[0])
    finally:
        bench.close()
    z = float((inputs * weight).sum() + offset)
    assert f"Of the relevance {z:.3g} at the output" in told
    lost = z - float(balance(rule, weight, offset, inputs))
    found = re.search(r"`2` \(Linear\) takes (\S+) ", told)
    taken = float(found.group(1)) if found else 0.0
    assert taken == pytest.approx(lost, rel=6e-3, abs=1e-9)


# ------------------------------------------------------------------------------------- three shares


def test_constants_times_a_factor():
    """Inputs and constants times t are outputs times t, whatever stands between."""
    model, inputs = models.resnet18(), drawn(2, 3, 16, 16)
    expected = model(inputs)
    scale_constants(model, 8.0)
    assert torch.allclose(model(8 * inputs), 8 * expected, rtol=1e-12, atol=0)
    scale_constants(model, 0.0)
    assert torch.allclose(model(2 * inputs), 2 * model(inputs), rtol=1e-12, atol=0)
    assert not model(0 * inputs).any()


def test_constants_that_two_modules_share_are_scaled_once():
    model = models.chain(4, 4, 4, 2)
    model[2].bias = model[0].bias
    before = model[0].bias.clone()
    scale_constants(model, 4.0)
    assert torch.equal(model[0].bias, 4 * before)


@pytest.mark.parametrize("epsilon", [0.0, 0.01, 0.25])
def test_the_sums_in_other_units(epsilon):
    """One layer: (z - b) z / (z + epsilon) in its own units, z - b in large ones, 0 in small."""
    weight, bias, inputs = layer()
    subject = xai.Subject(models.linear(weight, bias), inputs)
    bench = xai.Bench(subject)
    try:
        found = shares(bench, named(lrp_epsilon(epsilon)))
    finally:
        bench.close()
    z = (inputs * weight).sum() + bias
    assert torch.allclose(found.unstabilised, z - bias)
    assert torch.allclose(found.shrunk, z - bias if epsilon == 0 else torch.zeros(1).double())
    assert torch.allclose(found.bare, z - bias)
    assert torch.allclose(found.bare_output, z - bias)
    assert scales_with_units(z - bias, found)
    assert bench.counter.spent.explainer_calls == 3


def test_a_network_without_homogeneity_has_no_units():
    model = nn.Sequential(nn.Linear(4, 5), nn.Sigmoid(), nn.Linear(5, 2)).double().eval()
    bench = xai.Bench(xai.Subject(model, drawn(2, 4)))
    with pytest.raises(NotApplicable, match="not positively homogeneous"):
        shares(bench, named(input_x_gradient))
    bench.close()
    failed = judged(input_x_gradient, model, drawn(2, 4))
    assert failed.outcome == "failed"
    assert "The share of a stabiliser cannot be determined (the network is not" in failed.reason
    assert "First wrong module: `1` (Sigmoid)" in failed.reason
    assert "Sigmoid is neither linear nor a ReLU" in failed.reason


# -------------------------------------------------------------------------------------- in verdicts


def test_a_stabiliser_is_told_from_a_loss():
    model, inputs = models.chain(8, 6, 5, 3), drawn(6, 8)
    failed = judged(lrp_epsilon(0.25), model, inputs)
    facts = failed.counterexample["facts"]
    whole = judged(input_x_gradient, model, inputs)
    assert (failed.outcome, whole.outcome) == ("failed", "passed")
    assert "and nothing else is missing" in failed.reason
    assert facts["lost without biases"] == pytest.approx(0, abs=1e-12)
    expected = facts["f(x)"] - facts["absorbed by biases"] - facts["sum"]
    assert facts["taken by a stabiliser"] == pytest.approx(expected)
    assert "`4` (Linear) takes" in failed.reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_declared_stabiliser_is_judged_less_its_leak(dtype):
    model, inputs = models.chain(8, 6, 5, 3).to(dtype), drawn(6, 8).to(dtype)
    declared = xai.explainer(method="lrp_epsilon")
    passed = judged(declared(lrp_epsilon(0.25)), model, inputs)
    assert passed.outcome == "passed"
    assert "a stabiliser takes" in passed.reason
    assert "rounding" not in passed.reason
    epsilon = lrp_epsilon(0.25)

    @declared
    def worse(*given):
        return 1.01 * epsilon(*given)

    failed = judged(worse, model, inputs)
    assert failed.outcome == "failed"


def test_biases_are_told_from_a_loss():
    """Half of what biases absorb is handed on: with biases zeroed nothing is missing."""
    handed_on = explainers.get("zennit:LRPGamma")
    failed = judged(handed_on, models.chain(8, 6, 5, 3), drawn(6, 8).abs())
    assert failed.outcome == "failed"
    assert "With all biases set to zero, nothing is lost" in failed.reason
    assert "First wrong" not in failed.reason


def test_a_loss_is_told_by_what_is_missing_without_biases():
    """Two thirds more at one layer of a chain: all that enters below is 1.5 times."""
    failed = judged(scaled_at("2"), models.chain(8, 6, 5, 3), drawn(6, 8))
    assert "With all biases set to zero, 50.0% are lost" in failed.reason
    assert "First wrong module: `2` (Linear)" in failed.reason
    assert "`2` (Linear) takes" in failed.reason


def test_the_sums_without_biases():
    weight, bias, inputs = layer()
    bench = xai.Bench(xai.Subject(models.linear(weight, bias), inputs))
    sums, outputs, zero = unbiased_sums(bench, named(input_x_gradient))
    bench.close()
    assert torch.allclose(sums, (inputs * weight).sum())
    assert torch.equal(sums, outputs)
    assert zero.tolist() == [False]
    bench = xai.Bench(xai.Subject(models.linear(weight, bias), 0 * inputs))
    assert unbiased_sums(bench, named(input_x_gradient))[2].tolist() == [True]
    bench.close()
