"""The map of an image changes when another, random class is explained."""

import pytest
import torch

import pytest_xai as xai
from fixtures.loops import crossed
from fixtures.right import gradient, integrated_gradients, occlusion, smooth_gradient
from pytest_xai import explainers

CHECK = "random_logit"


@pytest.mark.parametrize(
    *crossed(
        [gradient, integrated_gradients(steps=8), occlusion, smooth_gradient],
        ["gradient", "ig", "occlusion", "smooth"],
        subjects=["digits", "table", "signal", "borderline"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    assert verdict(CHECK, explainer, request.getfixturevalue(subject)).outcome == "passed"


@pytest.mark.parametrize(
    "spec", ["captum:GuidedBackprop", "captum:Deconvolution", "control:EdgeDetector"]
)
def test_what_hardly_looks_at_the_class_fails(spec, verdict, digits):
    """Guided backpropagation and deconvolution: Sixt 2020, figure 5."""
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert failed.reason.startswith("The map shows what is in the image")


def test_a_random_map_that_has_the_seed_of_its_image_fails(verdict, digits):
    failed = verdict(CHECK, explainers.get("control:RandomMap"), digits)
    assert failed.outcome == "failed"
    assert failed.figure == pytest.approx(1)


def test_a_model_with_one_output_has_no_other_class(verdict, one_logit):
    nothing = verdict(CHECK, gradient, one_logit)
    assert (nothing.outcome, nothing.reason) == (
        "not_applicable",
        "the model has a single output",
    )


def test_who_says_that_classes_do_not_matter_is_not_asked(verdict, digits):
    agnostic = xai.explainer(class_agnostic=True)(lambda model, inputs, targets: inputs)
    nothing = verdict(CHECK, agnostic, digits)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "the explainer is declared class-agnostic"


def test_the_figure_is_the_correlation_with_a_random_other_class(
    recorder, finding, digits, by_hand
):
    correlations, _, _ = by_hand
    asked = recorder(gradient)
    found, bench = finding(CHECK, asked, digits)
    first, second = asked.targets
    assert torch.equal(first, bench.targets)
    assert (first != second).all()
    assert second.unique().numel() > 6
    assert ((second - first) % 10).unique().numel() > 6
    assert torch.allclose(found.values, correlations(*asked.maps))


@pytest.mark.parametrize("spec", ["zennit:ZPlus", "zennit:DTD", "zennit:AlphaBeta"])
def test_positive_rules_fail_though_the_logit_turns_their_maps_over(spec, verdict, digits):
    """Sixt 2020. The logits of other classes are mostly negative."""
    options = {"alpha": 1.0} if spec.endswith("AlphaBeta") else {}
    failed = verdict(CHECK, explainers.get(spec, **options), digits)
    assert failed.outcome == "failed"
    assert failed.figure > 0.98
    assert "rank correlation with sign -0." in failed.reason


def test_a_constant_map_fails(verdict, digits):
    failed = verdict(CHECK, explainers.get("control:ConstantMap"), digits)
    assert (failed.outcome, failed.figure) == ("failed", 1)


def test_of_two_classes_a_sign_flipped_map_of_one_sign_cannot_be_judged(verdict, borderline):
    """The same places, times the sign of the output: right of some networks, wrong of others."""

    def explain(model, inputs, targets):
        return inputs * (1 - 2 * targets.to(inputs))[:, None]

    judged = verdict(CHECK, explain, borderline)
    assert judged.outcome == "undecided"
    assert judged.reason == (
        "No image could be judged. "
        "64 images left out: constant maps, or sign-flipped maps of one sign."
    )


def test_of_two_mirrored_classes_what_ignores_the_class_fails(verdict, borderline):
    failed = verdict(CHECK, lambda model, inputs, targets: inputs - 0.5, borderline)
    assert (failed.outcome, failed.figure) == ("failed", pytest.approx(1))


def test_mirrored_classes_are_opposite_and_not_similar(verdict, borderline):
    passed = verdict(CHECK, gradient, borderline)
    assert passed.outcome == "passed"
    assert passed.figure == pytest.approx(-1)


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_classes_maps_of_which_one_has_both_signs_count(turned, finding, borderline):
    """Whether similar or sign-flipped: only sign-flipped maps of one sign cannot be judged."""

    def explain(model, inputs, targets):
        mixed = (0.5 - inputs if turned else inputs - 0.5) + 0.1 * inputs.roll(1, 1)
        return torch.where((targets == 0)[:, None], inputs, mixed)

    found, _ = finding(CHECK, explain, borderline)
    assert not found.values.isnan().any()
    assert ((found.values < 0) == turned).all()


def test_of_two_classes_similar_positive_maps_count(finding, borderline):
    def explain(model, inputs, targets):
        return torch.where((targets == 0)[:, None], inputs, inputs + inputs.roll(1, 1))

    found, _ = finding(CHECK, explain, borderline)
    assert ((found.values > 0.3) & (found.values < 0.99)).all()


@pytest.mark.parametrize("subject, low", [("digits", 0), ("borderline", -1)])
def test_only_two_classes_have_figures_below_zero(subject, low, finding, request):
    found, _ = finding(CHECK, gradient, request.getfixturevalue(subject))
    assert found.value_range == (low, 1)
