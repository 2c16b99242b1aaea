"""Maps before and after the fast gradient sign attack."""

import itertools

import pytest
import torch
from torch.nn import functional

import pytest_xai as xai
from fixtures import models
from fixtures.right import (
    gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai import explainers
from pytest_xai.attacks import prediction
from pytest_xai.attacks.prediction import fgsm
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits

CHECK = "fgsm_dice"
EPSILON = 8 / 255


@pytest.mark.parametrize(
    "explainer",
    [input_x_gradient, integrated_gradients(steps=8), occlusion, smooth_gradient],
    ids=["product", "ig", "occlusion", "smooth"],
)
@pytest.mark.parametrize("subject", ["digits", "signal", "borderline"])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.figure > passed.limit


@pytest.mark.parametrize("subject", ["one_logit", "scalar", "table"])
def test_other_models_are_attacked_as_well(subject, finding, request):
    found, _ = finding(CHECK, occlusion, request.getfixturevalue(subject))
    assert found.values.isfinite().all()
    assert (found.facts["size of the perturbation"] > 0).all()


@pytest.mark.parametrize("spec", ["captum:Saliency", "captum:LayerGradCam"])
def test_methods_of_captum_pass(spec, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == "passed"


# --------------------------------------------------------------------------------------- the attack


def attacked(attack, subject, **options):
    bench = xai.Bench(subject)
    try:
        return attack(bench, **options), bench
    finally:
        bench.close()


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "borderline"])
def test_the_attack_is_the_formula(subject, request):
    """x + epsilon (high - low) sign of the gradient of the cross entropy, kept in the bounds."""
    subject = request.getfixturevalue(subject)
    found, bench = attacked(fgsm, subject, epsilon=EPSILON)
    low, high = bench.bounds
    images = bench.inputs.clone().requires_grad_()
    loss = functional.cross_entropy(subject.model(images), bench.targets, reduction="sum")
    sign = torch.autograd.grad(loss, images)[0].sign()
    expected = (bench.inputs + EPSILON * (high - low) * sign).clamp(low, high)
    assert torch.allclose(found.inputs, expected, atol=1e-6)
    assert found.within.all()
    with torch.no_grad():
        before, after = (subject.model(each).argmax(1) for each in (bench.inputs, expected))
    assert torch.equal(found.predicted, after)
    assert torch.equal(found.flipped, after != before)
    assert torch.equal(found.correct, before == bench.targets)
    size = (expected - bench.inputs).abs().flatten(1).amax(1).double()
    assert torch.allclose(found.size, size, atol=1e-6)
    # Within the share of the range, but for rounding.
    assert (found.size <= EPSILON * (high - low) * (1 + 1e-5)).all()


@pytest.mark.parametrize("subject", ["one_logit", "scalar"])
def test_a_single_output_is_attacked_as_two_classes(subject, request):
    """The gradient of log(1 + exp(-z)) for a positive, of log(1 + exp(z)) for a negative logit."""
    subject = request.getfixturevalue(subject)
    found, bench = attacked(fgsm, subject, epsilon=EPSILON)
    low, high = bench.bounds
    with torch.no_grad():
        positive = subject.model(bench.inputs) > 0
    sign = gradient(subject.model, bench.inputs, bench.targets).sign()
    step = EPSILON * (high - low) * torch.where(positive, -sign, sign)
    assert torch.allclose(found.inputs, (bench.inputs + step).clamp(low, high), atol=1e-6)
    assert found.correct.all()
    with torch.no_grad():
        after = subject.model(found.inputs) > 0
    assert torch.equal(found.flipped, (after != positive)[:, 0])


def test_the_attack_leaves_the_model_as_it_was(photograph, changed):
    model = models.normed().float()
    subject = xai.Subject(model, torch.rand(12, 2, 6, 5), bounds=(0, 1))
    before = photograph(model)
    attacked(fgsm, subject, epsilon=EPSILON)
    assert changed(before, photograph(model)) == []


def test_an_attack_that_draws_follows_the_seed_and_asks_for_no_gradient_of_weights(digits):
    wanted = []

    def drawing(victim, inputs, labels, epsilons):
        wanted.extend(parameter.requires_grad for parameter in digits.model.parameters())
        return None, inputs + torch.rand_like(inputs), None

    state = torch.get_rng_state()
    bench = xai.Bench(digits).view(0, 4)
    first, again = (prediction._run(bench, lambda _: drawing, None) for _ in range(2))
    bench.close()
    assert torch.equal(first, again)
    assert not torch.equal(first, bench.inputs)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(wanted)
    assert all(parameter.requires_grad for parameter in digits.model.parameters())


def test_the_attack_is_made_once_for_all_explainers(digits):
    bench = xai.Bench(digits).view(0, 32)
    xai.checks.get(CHECK).function(bench, named(gradient))
    spent = bench.counter.spent
    xai.checks.get(CHECK).function(bench, named(lambda model, inputs, targets: inputs))
    bench.close()
    own = bench.counter.spent - spent
    assert (own.forward, own.backward) == (32, 0)  # the adversarial inputs are predicted again


# --------------------------------------------------------------------------------------- the figure


@pytest.mark.parametrize("subject", ["digits", "borderline", "signal"])
def test_what_is_asked_and_what_it_comes_to(
    subject, recorder, finding, dice_by_hand, following, request
):
    """Four maps for each image: before, after, after for the new prediction, after noise."""
    subject = request.getfixturevalue(subject)
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, subject)
    before, after, new, noisy = asked.maps
    attack = attacked(fgsm, subject, epsilon=EPSILON)[0]
    place = slice(0, len(bench))
    assert torch.equal(asked.inputs[0], bench.inputs)
    assert torch.equal(asked.inputs[1], attack.inputs[place])
    assert torch.equal(asked.inputs[2], attack.inputs[place])
    own = bench.targets
    with torch.no_grad():
        predicted = subject.model(attack.inputs[place]).argmax(1)
    expected = [own, own, predicted, own]
    assert all(map(torch.equal, asked.targets, expected))
    with torch.no_grad():
        counts = subject.model(bench.inputs).argmax(1) == own
    null = dice_by_hand(before, before[following(own)])
    under_noise = dice_by_hand(before, noisy)
    facts = {
        "Dice for the original target": dice_by_hand(before, after),
        "Dice for the new prediction": dice_by_hand(before, new),
        "Dice after noise of the same size": under_noise,
        "Dice of unrelated maps": null,
        "share of predictions changed": (predicted != own).double(),
    }
    for name, values in facts.items():
        assert torch.allclose(found.facts[name][counts], values[counts].double()), name
        assert found.facts[name][~counts].isnan().all()
    assert torch.allclose(
        found.values[counts], facts["Dice for the original target"][counts].double()
    )
    limits = torch.minimum(under_noise, (under_noise + null) / 2)
    assert torch.allclose(found.limits[counts], limits[counts].double())


@pytest.mark.parametrize("subject", ["borderline", "digits", "signal"])
def test_noise_has_the_attacks_size_in_every_norm(subject, recorder, finding, request):
    """The same absolute values in another order; an image at its bounds may have smaller ones."""
    subject = request.getfixturevalue(subject)
    asked = recorder(gradient)
    _, bench = finding(CHECK, asked, subject)
    low, high = bench.bounds
    attack, noise = ((asked.inputs[call] - bench.inputs).double().flatten(1) for call in (1, 3))
    assert asked.inputs[3].min() >= low
    assert asked.inputs[3].max() <= high
    assert torch.allclose(noise.abs().sort(1).values, attack.abs().sort(1).values, atol=1e-6)
    agreement = torch.cosine_similarity(noise, attack)
    assert agreement.abs().max() < 0.9
    assert agreement.mean().abs() < 0.4


def test_misclassified_images_are_left_out_and_counted(verdict, finding):
    plain = load_digits(32)
    with torch.no_grad():
        labels = plain.model(plain.inputs).argmax(1)
    labels[[3, 7, 20]] = (labels[[3, 7, 20]] + 1) % 10
    subject = xai.Subject(plain.model, plain.inputs, labels, bounds=(0, 1), baseline=plain.baseline)
    found, bench = finding(CHECK, input_x_gradient, subject)
    left_out = found.values.isnan().nonzero().flatten().tolist()
    assert sorted(bench.images[place] for place in left_out) == [3, 7, 20]
    assert found.left_out["misclassified before the attack"] == 3
    for values in found.facts.values():
        assert values.isnan().nonzero().flatten().tolist() == left_out
    judged = verdict(CHECK, input_x_gradient, subject)
    assert judged.images == 29
    assert "3 left out: misclassified before the attack." in judged.reason


def test_an_attack_beyond_its_budget_or_the_bounds_does_not_count(finding, digits, monkeypatch):
    real = prediction._run

    def spoilt(chunk, make, epsilon):
        found = real(chunk, make, epsilon)
        found[0, 0, 4, 4] = (
            chunk.inputs[0, 0, 4, 4] + (-1) ** (chunk.inputs[0, 0, 4, 4] > 0.5) * 0.1
        )
        found[1, 0, 0, 0] = -0.01
        found[2, 0, 0, 0] = 1.01
        return found

    clean, _ = finding(CHECK, input_x_gradient, digits)
    monkeypatch.setattr(prediction, "_run", spoilt)
    found, _ = finding(CHECK, input_x_gradient, digits)
    assert clean.left_out["attack beyond its budget or the bounds"] == 0
    assert found.left_out["attack beyond its budget or the bounds"] == 3
    assert found.values[:3].isnan().all()
    assert torch.equal(found.values[3:].isnan(), clean.values[3:].isnan())


def test_constant_maps_are_left_out_and_counted(finding, verdict, digits):
    calls = itertools.count()

    def explain(model, inputs, targets):
        maps = input_x_gradient(model, inputs, targets)
        if next(calls) == 1:
            maps[:4] = 2
        return maps

    found, _ = finding(CHECK, explain, digits)
    assert found.values[:4].isnan().all()
    assert found.left_out["constant maps"] == 4
    unknown = verdict(CHECK, explainers.get("control:ConstantMap"), digits)
    assert unknown.outcome == "undecided"
    assert "No image can tell." in unknown.reason


# ------------------------------------------------------------------------------------- planted maps


def by_call(*signs):
    """The input times the gradient, its sign turned in some of a check's four calls."""
    calls = itertools.count()

    def explain(model, inputs, targets):
        return signs[next(calls) % 4] * input_x_gradient(model, inputs, targets)

    return explain


def test_a_map_that_the_attack_destroys_and_noise_does_not_fails(verdict, borderline):
    failed = verdict(CHECK, by_call(1, -1, -1, 1), borderline)
    assert failed.outcome == "failed"
    assert failed.figure == 0
    assert failed.limit == 0.5
    assert failed.interval[0] <= failed.figure <= failed.interval[1]
    assert failed.reason.startswith("The attack moves the map further than noise of the same size")
    assert set(failed.tensors) == {
        "input",
        "adversarial input",
        "map",
        "map after the attack",
        "map after noise",
    }


def test_a_map_that_noise_destroys_as_well_is_not_the_attacks_doing(verdict, borderline):
    """Nothing is left after either, less than unrelated maps share: every image is on its limit."""
    frail = verdict(CHECK, by_call(1, -1, -1, -1), borderline)
    steady = verdict(CHECK, by_call(1, 1, 1, 1), borderline)
    assert (frail.outcome, frail.figure) == ("undecided", 0.5)
    assert "0 of 64, 64 on it. Means: value 0, limit 0," in frail.reason
    assert (steady.outcome, steady.figure) == ("passed", 1.0)


def test_only_the_original_target_decides(verdict, borderline):
    assert verdict(CHECK, by_call(1, 1, -1, 1), borderline).outcome == "passed"


def test_inputs_of_one_value_have_no_range(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.ones(8, 4).double())
    nothing = verdict(CHECK, gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "all inputs have one value: pass Subject(bounds=(low, high))"


def test_one_image_has_no_null(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.rand(1, 4).double(), bounds=(0, 1))
    assert verdict(CHECK, gradient, subject).outcome == "not_applicable"
