"""The map differs from that of a network that learned the same images with labels at random."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient, integrated_gradients, smooth_gradient
from pytest_xai import explainers
from pytest_xai.subjects import load_digits

CHECK = "data_randomisation"


@pytest.mark.parametrize(
    "explainer",
    [gradient, integrated_gradients(steps=8), smooth_gradient],
    ids=["gradient", "ig", "smooth"],
)
def test_right_explainers_pass(explainer, verdict, digits):
    assert verdict(CHECK, explainer, digits).outcome == "passed"


@pytest.mark.parametrize("spec", ["captum:LayerGradCam", "captum:SmoothGrad"])
def test_methods_that_depend_on_what_was_learned_pass(spec, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == "passed"


def test_guided_backpropagation_fails(verdict):
    """Adebayo 2018, section 4.2: its maps hardly change."""
    failed = verdict(CHECK, explainers.get("captum:GuidedBackprop"), load_digits())
    assert failed.outcome == "failed"


@pytest.mark.parametrize(
    "spec",
    ["control:EdgeDetector", "control:InputItself", "control:RandomMap", "control:ConstantMap"],
)
def test_what_does_not_look_at_the_model_fails(spec, verdict, digits):
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert failed.figure == pytest.approx(1)


def test_positive_rules_fail(verdict, digits):
    failed = verdict(CHECK, explainers.get("zennit:ZPlus"), digits)
    assert failed.outcome == "failed"
    assert failed.figure > 0.98


def test_without_such_a_model_it_does_not_apply(verdict, table):
    nothing = verdict(CHECK, gradient, table)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "needs Subject(permuted_model=...), trained on permuted labels"


@pytest.fixture
def inputs():
    return torch.randn(32, 6, generator=torch.Generator().manual_seed(0)).double()


def test_the_figure_is_the_correlation_with_the_other_model_s_map(
    inputs, recorder, finding, by_hand
):
    correlations, _, _ = by_hand
    model, other = models.chain(6, 8, 3), models.chain(6, 8, 3, seed=1).train()
    asked = recorder(gradient)
    found, bench = finding(CHECK, asked, xai.Subject(model, inputs, permuted_model=other))
    maps = gradient(model, bench.inputs, bench.targets)
    others = gradient(other, bench.inputs, bench.targets)
    assert torch.allclose(found.values, correlations(others, maps))
    same = other(bench.inputs).argmax(1) == model(bench.inputs).argmax(1)
    assert torch.equal(found.facts["share of equal predictions of the two networks"], same.double())
    assert other.training  # it is the user's own
    assert asked.models[0] is model
    assert not asked.models[1].training
    assert asked.models[1] is not other


def test_evaluations_of_the_other_model_count(inputs, verdict):
    subject = xai.Subject(
        models.chain(6, 8, 3), inputs, permuted_model=lambda: models.chain(6, 8, 3, seed=1)
    )
    judged = verdict(CHECK, gradient, subject)
    assert judged.evaluations.forward == 4 * 32
    assert judged.evaluations.backward == 2 * 32


def test_what_the_user_s_function_raises_is_an_error_of_its_own(inputs, verdict):
    def lost():
        raise OSError("no such file")

    broken = verdict(
        CHECK, gradient, xai.Subject(models.chain(6, 8, 3), inputs, permuted_model=lost)
    )
    assert broken.outcome == "error"
    assert "the model of permuted labels raised OSError: no such file" in broken.reason


def test_a_function_that_draws_leaves_the_global_generators(inputs, verdict):
    subject = xai.Subject(
        models.chain(6, 3), inputs, permuted_model=lambda: nn.Linear(6, 3).double()
    )
    before = torch.get_rng_state()
    first, again = (verdict(CHECK, gradient, subject) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.figure == again.figure
