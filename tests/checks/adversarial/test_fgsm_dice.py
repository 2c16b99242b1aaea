"""Maps before and after the fast gradient sign attack."""

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch.nn import functional

import pytest_xai as xai
from fixtures import models
from fixtures.loops import crossed
from fixtures.right import (
    gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai import explainers
from pytest_xai.attacks import fgsm, noise, verified
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits

CHECK = "fgsm_dice"
BESIDE = (
    "IoU",
    "intersection of the top 20 %",
    "rank correlation",
    "SSIM",
    "shift of the centre of mass",
)
EPSILON = 8 / 255


@pytest.mark.parametrize(
    *crossed(
        [input_x_gradient, integrated_gradients(steps=8), occlusion, smooth_gradient],
        ["product", "ig", "occlusion", "smooth"],
        subjects=["digits", "signal", "borderline"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.figure > passed.limit


@pytest.mark.parametrize("subject", ["one_logit", "scalar", "table"])
def test_other_models_are_attacked_as_well(subject, finding, request):
    found, _ = finding(CHECK, occlusion, request.getfixturevalue(subject))
    assert found.values.isfinite().sum() + sum(found.left_out.values()) == 32
    assert found.values.isfinite().sum() > 28
    assert not (found.facts["size of the perturbation"] <= 0).any()


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


def test_the_attack_is_made_once_for_all_explainers(digits):
    bench = xai.Bench(digits).view(0, 32)
    xai.checks.get(CHECK).function(bench, named(gradient))
    spent = bench.counter.spent
    xai.checks.get(CHECK).function(bench, named(lambda model, inputs, targets: inputs))
    bench.close()
    own = bench.counter.spent - spent
    # The attack, the noise and what is predicted for them are there already.
    assert (own.forward, own.backward, own.explainer_calls) == (0, 0, 3 * 32)


# --------------------------------------------------------------------------------------- the figure


@pytest.mark.parametrize("subject", ["digits", "borderline", "signal", "table"])
def test_what_is_asked_and_what_it_comes_to(
    subject, recorder, finding, dice_by_hand, following, request
):
    """Maps before, after, after noise; where predictions change, of the new and of what held."""
    subject = request.getfixturevalue(subject)
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, subject)
    attack = attacked(fgsm, subject, epsilon=EPSILON)[0].inputs[: len(bench)]
    with torch.no_grad():
        first, predicted, disturbed = (
            subject.model(each).argmax(1) for each in (bench.inputs, attack, asked.inputs[2])
        )
    own = bench.targets
    right, changed = first == own, predicted != first
    assert len(asked.maps) == (5 if changed.any() else 3)
    assert bool(changed.any()) == (subject.name in {"signal", "table"})
    before, end, noisy, new, after = (*asked.maps, *asked.maps[1:2] * 2)[:5]
    expected = [own, own, own, predicted, own][: len(asked.maps)]
    assert all(map(torch.equal, asked.targets, expected))
    inputs = [bench.inputs, attack, asked.inputs[2], attack][: len(asked.maps)]
    assert all(map(torch.equal, asked.inputs, inputs))
    point = asked.inputs[-1] if changed.any() else attack
    assert torch.equal(point[~changed], attack[~changed])
    with torch.no_grad():
        assert torch.equal(subject.model(point).argmax(1), first)
    counts = right & (disturbed == first)
    null = dice_by_hand(before, before[following(own)])
    under_noise = dice_by_hand(before, noisy)
    facts = {
        "Dice after noise of the same size": (counts, under_noise),
        "Dice of unrelated maps": (counts, null),
        "share of predictions changed": (right, changed.double()),
        "Dice for the original class where the prediction changed": (
            right & changed,
            dice_by_hand(before, end),
        ),
        "Dice for the new class where the prediction changed": (
            right & changed,
            dice_by_hand(before, new),
        ),
    }
    for name, (where, values) in facts.items():
        assert torch.allclose(found.facts[name][where], values[where].double()), name
        assert found.facts[name][~where].isnan().all(), name
    assert torch.allclose(found.values[counts], dice_by_hand(before, after)[counts].double())
    assert found.values[~counts].isnan().all()
    limits = torch.minimum(under_noise, (under_noise + null) / 2)
    assert torch.allclose(found.limits[counts], limits[counts].double())
    assert sum(found.left_out.values()) == int((~counts).sum())


def test_further_similarities(recorder, finding, digits, table):
    """By SciPy, scikit-image and sets; a table has no places for the last two."""
    asked = recorder(input_x_gradient)
    found, _ = finding(CHECK, asked, digits)
    counts = found.values.isfinite()
    before, after = (maps[:, 0].double().numpy() for maps in asked.maps[:2])
    expected = {name: [] for name in BESIDE}
    for a, b in zip(before, after, strict=True):
        tops = [set(np.argsort(-each.ravel())[:13].tolist()) for each in (a, b)]
        tenths = [set(np.argsort(-each.ravel())[:7].tolist()) for each in (a, b)]
        expected["IoU"].append(len(tenths[0] & tenths[1]) / len(tenths[0] | tenths[1]))
        expected["intersection of the top 20 %"].append(len(tops[0] & tops[1]) / 13)
        expected["rank correlation"].append(spearmanr(a.ravel(), b.ravel()).statistic)
        unit = [each / np.abs(each).max() for each in (a, b)]
        expected["SSIM"].append(structural_similarity(*unit, data_range=2))
        centres = [np.array(center_of_mass(np.abs(each))) for each in (a, b)]
        shift = np.linalg.norm(centres[0] - centres[1]) / np.hypot(7, 7)
        expected["shift of the centre of mass"].append(shift)
    for name in BESIDE:
        values = torch.tensor(expected[name]).double()
        assert torch.allclose(found.facts[name][counts], values[counts], atol=1e-9), name
        assert found.facts[name][~counts].isnan().all()
    assert set(BESIDE) & set(finding(CHECK, occlusion, table)[0].facts) == set(BESIDE[:3])


@pytest.mark.parametrize("subject", ["borderline", "digits", "signal"])
def test_noise_has_the_attacks_size_in_every_norm(subject, recorder, finding, request):
    """The same absolute values in another order; an image at its bounds may have smaller ones."""
    subject = request.getfixturevalue(subject)
    asked = recorder(gradient)
    _, bench = finding(CHECK, asked, subject)
    low, high = bench.bounds
    attack, noise = (
        (asked.inputs[call] - bench.inputs).double().flatten(1)
        for call in (-1 if len(asked.inputs) == 5 else 1, 2)
    )
    assert asked.inputs[2].min() >= low
    assert asked.inputs[2].max() <= high
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
    for name, values in found.facts.items():
        if "where the prediction changed" not in name:
            assert values.isnan().nonzero().flatten().tolist() == left_out
    judged = verdict(CHECK, input_x_gradient, subject)
    assert judged.images == 29
    assert "3 images left out: misclassified before the attack." in judged.reason


def test_an_attack_beyond_its_budget_or_the_bounds_does_not_count(finding, digits, monkeypatch):
    real = verified.carry_out

    def spoilt(chunk, name, attack):
        found = real(chunk, name, attack)
        found[0, 0, 4, 4] = (
            chunk.inputs[0, 0, 4, 4] + (-1) ** (chunk.inputs[0, 0, 4, 4] > 0.5) * 0.1
        )
        found[1, 0, 0, 0] = -0.01
        found[2, 0, 0, 0] = 1.01
        return found

    clean, _ = finding(CHECK, input_x_gradient, digits)
    monkeypatch.setattr(verified, "carry_out", spoilt)
    found, _ = finding(CHECK, input_x_gradient, digits)
    assert clean.left_out["attack beyond its budget or the bounds"] == 0
    assert found.left_out["attack beyond its budget or the bounds"] == 3
    assert found.values[:3].isnan().all()
    assert torch.equal(found.values[3:].isnan(), clean.values[3:].isnan())


def test_what_changes_the_prediction_is_shown_and_what_comes_before_is_held(
    recorder, finding, digits, dice_by_hand, monkeypatch
):
    """Another image in the place of every second one."""
    real = verified.carry_out

    def swapped(chunk, name, attack):
        found = real(chunk, name, attack)
        found[::2] = chunk.inputs.roll(1, 0)[::2]
        return found

    monkeypatch.setattr(verified, "carry_out", swapped)
    monkeypatch.setattr(verified, "_affordable", lambda bench, size, norm, budget: size >= 0)
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, digits)
    before, end, _, _, after = asked.maps
    changed = found.facts["share of predictions changed"] == 1
    assert changed[::2].sum() > 10
    assert not changed[1::2].any()
    assert torch.equal(
        found.facts["Dice for the original class where the prediction changed"].isfinite(), changed
    )
    assert torch.allclose(
        found.facts["Dice for the original class where the prediction changed"][changed],
        dice_by_hand(before, end)[changed].double(),
    )
    held = found.values.isfinite() & changed
    assert held.sum() > 8
    assert torch.allclose(found.values[held], dice_by_hand(before, after)[held].double())
    with torch.no_grad():
        predicted = [digits.model(each).argmax(1) for each in (bench.inputs, asked.inputs[4])]
    assert torch.equal(predicted[0][held], predicted[1][held])
    assert not torch.isclose(asked.inputs[4], asked.inputs[1]).flatten(1).all(1)[changed].any()


def test_noise_that_changes_the_prediction_is_no_null(finding, verdict, digits, monkeypatch):
    def other_image(delta, inputs, *, bounds, generator):
        return torch.cat([inputs.roll(5, 0)[:8] - inputs[:8], torch.zeros_like(inputs[8:])])

    monkeypatch.setattr(noise, "same_size_noise", other_image)
    found, bench = finding(CHECK, input_x_gradient, digits)
    with torch.no_grad():
        noisy = bench.inputs.roll(5, 0)[:8]
        differs = digits.model(noisy).argmax(1) != digits.model(bench.inputs[:8]).argmax(1)
    count = found.left_out["noise of the same size changed the prediction"]
    assert count == int(
        (differs & found.facts["share of predictions changed"][:8].isfinite()).sum()
    )
    assert count > 4
    assert found.values[:8][differs].isnan().all()
    assert (
        found.values[8:].isfinite().sum() == 24 - found.left_out["misclassified before the attack"]
    )


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
    assert "No image could be judged." in unknown.reason


# ------------------------------------------------------------------------------------- planted maps


def by_call(*signs):
    """The input times the gradient, its sign turned in some of the calls: before, after, noise."""
    calls = itertools.count()

    def explain(model, inputs, targets):
        return signs[next(calls) % 3] * input_x_gradient(model, inputs, targets)

    return explain


def test_a_map_that_the_attack_destroys_and_noise_does_not_fails(verdict, borderline):
    failed = verdict(CHECK, by_call(1, -1, 1), borderline)
    assert failed.outcome == "failed"
    assert failed.figure == 0
    assert failed.limit == 0.5
    assert failed.interval[0] <= failed.figure <= failed.interval[1]
    assert failed.reason.startswith("The attack changes the map more than noise of the same size")
    assert set(failed.tensors) == {
        "input",
        "adversarial input",
        "map",
        "map after the attack",
        "map after noise",
    }


def test_of_a_map_that_noise_destroys_no_more_is_asked_than_noise_leaves(verdict):
    """Less than unrelated maps share, which digits do: no image is on the wrong side."""
    frail = verdict(CHECK, by_call(1, -1, -1), load_digits(32))
    assert (frail.outcome, frail.figure) == ("undecided", 0.5)
    assert "0 of 31 images are above their own limit, 31 on it." in frail.reason
    assert "31 on it. Means over the images: value 0, limit 0," in frail.reason
    assert "Dice of unrelated maps 0.1" in frail.reason


def test_a_map_that_noise_destroys_as_well_is_not_the_attacks_doing(verdict, borderline):
    """Nothing is left after either, less than unrelated maps share: every image is on its limit."""
    frail = verdict(CHECK, by_call(1, -1, -1), borderline)
    steady = verdict(CHECK, by_call(1, 1, 1), borderline)
    assert (frail.outcome, frail.figure) == ("undecided", 0.5)
    assert "0 of 64 images are above their own limit, 64 on it." in frail.reason
    assert "64 on it. Means over the images: value 0, limit 0," in frail.reason
    assert (steady.outcome, steady.figure) == ("passed", 1.0)


def test_inputs_of_one_value_have_no_range(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.ones(8, 4).double())
    nothing = verdict(CHECK, gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "all inputs have one value: pass Subject(bounds=(low, high))"


def test_one_image_has_no_null(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.rand(1, 4).double(), bounds=(0, 1))
    assert verdict(CHECK, gradient, subject).outcome == "not_applicable"
