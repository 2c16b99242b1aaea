"""Every axiom is decided in float64 where float32 says that it fails, and the verdict says so."""

import itertools

import pytest
import torch

import pytest_xai as xai
from fixtures.right import gradient, input_x_gradient, integrated_gradients
from pytest_xai import checks
from pytest_xai.protocol import traits_of
from pytest_xai.subjects import load_digits

AXIOMS = [check.name for check in checks.all() if check.family == "axiomatic"]
# Explainers that are right by each, on digits. Convergence and closed forms have other subjects.
BY_HAND = {
    "dummy_feature": gradient,
    "implementation_invariance": gradient,
    "linearity": input_x_gradient,
    "positive_homogeneity": gradient,
    "relevance_conservation": input_x_gradient,
    "sensitivity_a": gradient,
    "shift_invariance": gradient,
    "sign_convention": xai.explainer(sign="non_negative")(lambda *given: gradient(*given).abs()),
    "summation_to_delta": integrated_gradients("gauss", 16),
    "symmetry": gradient,
    "translation_equivariance": gradient,
}


@pytest.fixture(scope="module")
def few():
    return load_digits(8)


def spoilt(name, *dtypes):
    """An explainer that is right by this axiom but in these dtypes.

    There it has noise of a tenth, another at each call; nothing at all where any value would do.
    """
    explainer, calls = BY_HAND[name], itertools.count()
    traits = traits_of(explainer)

    @xai.explainer(needs_baseline=traits.needs_baseline, sign=traits.sign)
    def explain(model, inputs, targets, **options):
        maps = explainer(model, inputs, targets, **options)
        number = next(calls)
        if inputs.dtype not in dtypes:
            return maps
        generator = torch.Generator().manual_seed(number)
        noise = torch.rand(maps.shape, generator=generator, dtype=maps.dtype)
        return 0 * maps if name == "sensitivity_a" else maps - 0.1 * maps.abs().max() * noise

    return explain


@pytest.mark.parametrize("name", AXIOMS)
def test_every_axiom_is_arbitrated(name):
    assert checks.get(name).arbitrated


@pytest.mark.parametrize("name", BY_HAND)
def test_what_fails_in_float32_alone_passes_by_arbitration(name, verdict, few):
    passed = verdict(name, spoilt(name, torch.float32), few)
    assert passed.outcome == "passed"
    assert "Decided in float64: the float32 difference is rounding." in passed.reason


@pytest.mark.parametrize("name", BY_HAND)
def test_what_fails_in_both_is_confirmed(name, verdict, few):
    failed = verdict(name, spoilt(name, torch.float32, torch.float64), few)
    assert failed.outcome == "failed"
    assert "Confirmed in float64." in failed.reason


@pytest.mark.parametrize("name", BY_HAND)
def test_what_only_knows_float32_is_judged_there(name, verdict, few):
    wrong = spoilt(name, torch.float32)

    @xai.explainer(needs_baseline=traits_of(wrong).needs_baseline, sign=traits_of(wrong).sign)
    def single(model, inputs, targets, **options):
        if inputs.dtype == torch.float64:
            raise RuntimeError("expected Float but found Double")
        return wrong(model, inputs, targets, **options)

    failed = verdict(name, single, few)
    assert failed.outcome == "failed"
    assert "Judged in float32: it could not be decided in float64 (" in failed.reason
    assert "expected Float but found Double" in failed.reason


@pytest.mark.parametrize("name", BY_HAND)
def test_what_passes_in_float32_costs_no_float64(name, verdict, recorder, few):
    traits = traits_of(BY_HAND[name])
    asked = recorder(BY_HAND[name], needs_baseline=traits.needs_baseline, sign=traits.sign)
    passed = verdict(name, asked, few)
    assert passed.outcome == "passed"
    assert {inputs.dtype for inputs in asked.inputs} == {torch.float32}
    assert "float64" not in passed.reason
