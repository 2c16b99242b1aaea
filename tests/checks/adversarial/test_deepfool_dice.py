"""Maps before and after the smallest change of the prediction."""

import itertools

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.right import input_x_gradient, integrated_gradients, occlusion, smooth_gradient
from pytest_xai import explainers
from pytest_xai.attacks import deepfool, verified
from pytest_xai.checks.adversarial import _dice
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits

CHECK = "deepfool_dice"


@pytest.mark.parametrize(
    "explainer",
    [input_x_gradient, integrated_gradients(steps=8), occlusion, smooth_gradient],
    ids=["product", "ig", "occlusion", "smooth"],
)
@pytest.mark.parametrize("subject", ["digits", "borderline"])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.figure > passed.limit


@pytest.mark.parametrize("subject", ["one_logit", "scalar", "table", "signal"])
def test_other_models_are_attacked_as_well(subject, finding, request):
    found, _ = finding(CHECK, occlusion, request.getfixturevalue(subject))
    assert found.values.isfinite().sum() > 16
    counted = found.values.isfinite()
    assert (found.facts["share of predictions changed"][counted] == 1).all()


@pytest.mark.parametrize("spec", ["captum:IntegratedGradients", "captum:LayerGradCam"])
def test_methods_of_captum_pass(spec, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == "passed"


# --------------------------------------------------------------------------------------- the attack


def attacked(subject):
    bench = xai.Bench(subject)
    try:
        return deepfool(bench), bench
    finally:
        bench.close()


@pytest.fixture
def linear():
    """Four classes, and bounds that no step reaches."""
    generator = torch.Generator().manual_seed(11)
    weight, bias = (torch.randn(4, *shape, generator=generator).double() for shape in [(9,), ()])
    inputs = torch.randn(40, 9, generator=generator).double()
    return xai.Subject(models.linear(weight, bias), inputs, bounds=(-50, 50)), weight, bias


def test_the_attack_leaves_the_model_as_it_was(photograph, changed):
    model = models.normed().float()
    subject = xai.Subject(model, torch.rand(12, 2, 6, 5), bounds=(0, 1))
    before = photograph(model)
    attacked(subject)
    assert changed(before, photograph(model)) == []


# -------------------------------------------------------------------------------- what of it counts


def test_every_counted_input_keeps_its_prediction_and_the_next_does_not(recorder, finding, digits):
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, digits)
    counted = found.values.isfinite()
    attack, point = asked.inputs[1], asked.inputs[4]
    with torch.no_grad():
        before, after, held = (
            digits.model(each).argmax(1) for each in (bench.inputs, attack, point)
        )
        # A thousandth of the way further, it is another one.
        beyond = digits.model(point + (attack - bench.inputs) / 1000).argmax(1)
    assert torch.equal(counted, (before == bench.targets) & (after != before))
    assert torch.equal(held[counted], before[counted])
    assert (beyond != before)[counted].all()
    # On the straight way to where the attack ended.
    ways = [(each - bench.inputs).flatten(1) for each in (point, attack)]
    assert (torch.cosine_similarity(*ways)[counted] > 0.9999).all()
    assert torch.equal(asked.targets[3], after)
    assert all(torch.equal(asked.targets[call], bench.targets) for call in (0, 1, 2, 4))
    assert counted.sum() > 28


def unmoved(chunk, name, attack):
    return chunk.inputs.clone()


def test_an_attack_that_changes_nothing_counts_for_nothing(verdict, finding, digits, monkeypatch):
    monkeypatch.setattr(verified, "carry_out", unmoved)
    found, _ = finding(CHECK, input_x_gradient, digits)
    assert found.values.isnan().all()
    assert found.left_out["attack did not change the prediction"] == 31
    assert found.left_out["misclassified before the attack"] == 1
    unknown = verdict(CHECK, input_x_gradient, digits)
    assert unknown.outcome == "undecided"
    assert "attack did not change the prediction" in unknown.reason


def test_an_attack_that_leaves_the_bounds_does_not_count(finding, digits, monkeypatch):
    real = verified.carry_out

    def spoilt(chunk, name, attack):
        found = real(chunk, name, attack)
        found[5] = found[5] + 2
        return found

    monkeypatch.setattr(verified, "carry_out", spoilt)
    found, _ = finding(CHECK, input_x_gradient, digits)
    assert found.left_out["attack beyond its budget or the bounds"] == 1
    assert found.values[5].isnan()


def test_misclassified_images_are_left_out_and_counted(verdict):
    plain = load_digits(32)
    with torch.no_grad():
        labels = plain.model(plain.inputs).argmax(1)
    labels[:6] = (labels[:6] + 1) % 10
    subject = xai.Subject(plain.model, plain.inputs, labels, bounds=(0, 1))
    judged = verdict(CHECK, input_x_gradient, subject)
    assert judged.images == 26
    assert "6 images left out: misclassified before the attack." in judged.reason


def test_noise_has_the_attacks_size_in_every_norm(recorder, finding, linear):
    asked = recorder(input_x_gradient)
    _, bench = finding(CHECK, asked, linear[0])
    attack, noise = (asked.inputs[call] - bench.inputs for call in (4, 2))
    sizes = [step.abs().sort(1).values for step in (noise, attack)]
    assert torch.allclose(*sizes, rtol=0, atol=1e-12)
    assert not torch.isclose(noise, attack).all(1).any()


def test_what_it_comes_to(recorder, finding, dice_by_hand, following, digits):
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, digits)
    before, end, noisy, new, after = asked.maps
    counted = found.values.isfinite()
    null = dice_by_hand(before, before[following(bench.targets)]).double()
    under_noise = dice_by_hand(before, noisy).double()
    assert torch.allclose(found.values[counted], dice_by_hand(before, after).double()[counted])
    limits = torch.minimum(under_noise, (under_noise + null) / 2)
    assert torch.allclose(found.limits[counted], limits[counted])
    for name, maps in {"original": end, "new": new}.items():
        expected = dice_by_hand(before, maps).double()[counted]
        assert torch.allclose(
            found.facts[f"Dice for the {name} class where the prediction changed"][counted],
            expected,
        )
    distance = (asked.inputs[4] - bench.inputs).flatten(1).norm(dim=1).double()
    assert torch.allclose(found.facts["size of the perturbation"][counted], distance[counted])
    assert torch.equal(found.tensors["adversarial input"], asked.inputs[4])


@pytest.mark.parametrize(
    "signs, outcome",
    [
        ((1, -1, 1, -1, 1), "passed"),  # turned where the prediction changed, for both classes
        ((1, 1, 1, 1, -1), "failed"),  # turned before it
        ((1, 1, -1, 1, -1), "undecided"),  # by noise of that size as well
    ],
)
def test_only_what_comes_before_the_change_decides(signs, outcome, verdict, borderline):
    calls = itertools.count()

    def explain(model, inputs, targets):
        return signs[next(calls) % 5] * input_x_gradient(model, inputs, targets)

    judged = verdict(CHECK, explain, borderline)
    assert (judged.outcome, judged.limit) == (outcome, 0.5)


# ------------------------------------------------------------------------ the protocol of the paper


def galli(explainer, subject):
    bench = xai.Bench(subject).view(0, 32)
    try:
        found = deepfool(bench)
        return _dice.dice_under_attack(bench, named(explainer), found, protocol="galli"), bench
    finally:
        bench.close()


def test_by_the_protocol_of_the_paper_the_map_after_is_that_of_the_new_class(
    recorder, dice_by_hand, digits
):
    asked = recorder(input_x_gradient)
    found, bench = galli(asked, digits)
    before, end, _, new = asked.maps
    counted = found.values.isfinite()
    with torch.no_grad():
        first, after = (digits.model(each).argmax(1) for each in (bench.inputs, asked.inputs[1]))
    assert torch.equal(counted, (first == bench.targets) & (after != first))
    assert torch.equal(asked.targets[3], after)
    assert torch.allclose(found.values[counted], dice_by_hand(before, new).double()[counted])
    assert torch.allclose(
        found.facts["Dice for the original class where the prediction changed"][counted],
        dice_by_hand(before, end).double()[counted],
    )
    sizes = [(asked.inputs[c] - bench.inputs).flatten(1).abs().sort(1).values for c in (1, 2)]
    assert torch.allclose(*sizes, atol=1e-6)


def test_a_map_of_the_prediction_loses_the_target_at_the_boundary(verdict, digits):
    """It holds while the prediction does, and is the new class's map where the target is asked."""

    def of_prediction(model, inputs, targets):
        with torch.no_grad():
            predicted = model(inputs).argmax(1)
        return input_x_gradient(model, inputs, predicted)

    assert verdict(CHECK, of_prediction, digits).outcome == "passed"
    lost, _ = galli(of_prediction, digits)
    right, _ = galli(input_x_gradient, digits)
    own = "Dice for the original class where the prediction changed"
    new = "Dice for the new class where the prediction changed"
    assert lost.facts[own].nanmean() == lost.facts[new].nanmean() < 0.3
    assert right.facts[own].nanmean() > 0.6
    assert right.facts[new].nanmean() < 0.3


def test_inputs_of_one_value_have_no_range(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.ones(8, 4).double())
    nothing = verdict(CHECK, input_x_gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "all inputs have one value: pass Subject(bounds=(low, high))"
