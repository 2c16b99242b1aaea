"""Maps before and after the smallest change of the prediction."""

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.right import input_x_gradient, integrated_gradients, occlusion, smooth_gradient
from pytest_xai import explainers
from pytest_xai.attacks import prediction
from pytest_xai.attacks.prediction import deepfool
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


def test_the_distance_of_a_linear_model_is_that_of_its_nearest_boundary(linear):
    """1.02 times the margin over |w_c - w_k|, and foolbox's own 1e-4 beyond it."""
    subject, weight, bias = linear
    found, bench = attacked(subject)
    logits = bench.inputs @ weight.T + bias
    own = bench.targets[:, None]
    margins = logits.gather(1, own) - logits
    lengths = (weight[bench.targets][:, None] - weight[None]).norm(dim=2)
    distances = (margins / lengths).scatter(1, own, torch.inf)
    expected = 1.02 * (distances.amin(1) + 1e-4)
    assert torch.allclose(found.size, expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(found.predicted, distances.argmin(1))
    assert found.flipped.all()
    assert found.within.all()
    assert found.correct.all()
    # The direction is the normal of that boundary.
    step = found.inputs - bench.inputs
    normal = weight[found.predicted] - weight[bench.targets]
    assert torch.allclose(torch.cosine_similarity(step, normal), torch.tensor(1.0).double())


def test_the_distance_of_a_single_logit():
    weight = torch.tensor([[3.0, -4.0]]).double()
    inputs = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 2.0]]).double()
    subject = xai.Subject(models.linear(weight), inputs, bounds=(-50, 50))
    found, bench = attacked(subject)
    expected = 1.02 * ((bench.inputs @ weight[0]).abs() / 5 + 1e-4)
    assert torch.allclose(found.size, expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(found.predicted, (bench.inputs @ weight[0] < 0).long())
    assert found.flipped.all()


def test_the_attack_leaves_the_model_as_it_was(photograph, changed):
    model = models.normed().float()
    subject = xai.Subject(model, torch.rand(12, 2, 6, 5), bounds=(0, 1))
    before = photograph(model)
    attacked(subject)
    assert changed(before, photograph(model)) == []


# -------------------------------------------------------------------------------- what of it counts


def test_every_counted_input_is_predicted_again(recorder, finding, digits):
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, digits)
    counted = found.values.isfinite()
    with torch.no_grad():
        before = digits.model(bench.inputs).argmax(1)
        after = digits.model(asked.inputs[1]).argmax(1)
    assert torch.equal(counted, (before == bench.targets) & (after != before))
    assert torch.equal(asked.targets[2], after)
    assert counted.sum() > 28


def test_an_attack_that_changes_nothing_counts_for_nothing(verdict, finding, digits, monkeypatch):
    monkeypatch.setattr(prediction, "_run", lambda chunk, make, epsilon: chunk.inputs.clone())
    found, _ = finding(CHECK, input_x_gradient, digits)
    assert found.values.isnan().all()
    assert found.left_out["attack did not change the prediction"] == 31
    assert found.left_out["misclassified before the attack"] == 1
    unknown = verdict(CHECK, input_x_gradient, digits)
    assert unknown.outcome == "undecided"
    assert "attack did not change the prediction" in unknown.reason


def test_an_attack_that_leaves_the_bounds_does_not_count(finding, digits, monkeypatch):
    real = prediction._run

    def spoilt(chunk, make, epsilon):
        found = real(chunk, make, epsilon)
        found[5] = found[5] + 2
        return found

    monkeypatch.setattr(prediction, "_run", spoilt)
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
    assert "6 left out: misclassified before the attack." in judged.reason


def test_noise_has_the_attacks_size_in_every_norm(recorder, finding, linear):
    asked = recorder(input_x_gradient)
    _, bench = finding(CHECK, asked, linear[0])
    attack, noise = (asked.inputs[call] - bench.inputs for call in (1, 3))
    sizes = [step.abs().sort(1).values for step in (noise, attack)]
    assert torch.allclose(*sizes, rtol=0, atol=1e-12)
    assert not torch.isclose(noise, attack).all(1).any()


def test_what_it_comes_to(recorder, finding, dice_by_hand, following, digits):
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, digits)
    before, after, new, noisy = asked.maps
    counted = found.values.isfinite()
    null = dice_by_hand(before, before[following(bench.targets)]).double()
    under_noise = dice_by_hand(before, noisy).double()
    assert torch.allclose(found.values[counted], dice_by_hand(before, after).double()[counted])
    limits = torch.minimum(under_noise, (under_noise + null) / 2)
    assert torch.allclose(found.limits[counted], limits[counted])
    for name, maps in {"original target": after, "new prediction": new}.items():
        expected = dice_by_hand(before, maps).double()[counted]
        assert torch.allclose(found.facts[f"Dice for the {name}"][counted], expected)
    assert torch.equal(found.facts["size of the perturbation"].isfinite(), counted)


def test_inputs_of_one_value_have_no_range(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.ones(8, 4).double())
    nothing = verdict(CHECK, input_x_gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "all inputs have one value: pass Subject(bounds=(low, high))"
