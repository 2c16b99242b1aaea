"""Maps under attacks on the map itself, against as many draws of noise of the same size."""

import json
from pathlib import Path

import jsonschema
import pytest
import torch

import pytest_xai as xai
from fixtures.right import gradient, input_x_gradient
from fixtures.wrong.fooled import pointing
from pytest_xai import explainers, reporting
from pytest_xai.attacks.fooling import fool, top_values
from pytest_xai.checks.adversarial import _map_fooling as module
from pytest_xai.checks.adversarial._dice import EPSILON
from pytest_xai.checks.adversarial._map_fooling import kept_under_attack
from pytest_xai.core.packed_tensors import unpacked
from pytest_xai.core.run import Run
from pytest_xai.measures import topk_intersection
from pytest_xai.protocol import named
from pytest_xai.reporting.json_report import report
from pytest_xai.subjects import load_digits

CHECKS = ("map_fooling_topk", "map_fooling_center", "map_fooling_target", "map_fooling_blackbox")
SCHEMA = json.loads((Path(reporting.__file__).parent / "schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def spot():
    """The attack on the top values of a spot that can be pointed anywhere, and its subject."""
    subject = load_digits(16)
    bench = xai.Bench(subject)
    found = kept_under_attack(bench, named(pointing), top_values)
    bench.close()
    return found, bench


# --------------------------------------------------------------------------------------- the figure


def test_figures_are_those_of_the_tensors(spot):
    """What is shown is what is judged: maps explained anew from the adversarial inputs."""
    found, bench = spot
    before, inputs = found.tensors["map"], found.tensors["adversarial input"]
    after = pointing(bench.subject.model, inputs, bench.targets)
    assert torch.allclose(found.tensors["map after the attack"], after, atol=1e-6)
    expected = topk_intersection(after, before, fraction=0.2)
    assert torch.allclose(found.values, expected)
    assert torch.equal(found.facts["share of the top 20 % kept after the attack"], found.values)
    least = found.facts["share of the top 20 % kept after the worst of 10 draws of noise"]
    undone = found.facts["share of the top 20 % kept if the attack reached its goal"]
    assert torch.allclose(found.limits, torch.minimum((least + undone) / 2, least))
    assert (least <= found.facts["share of the top 20 % kept after noise of the same size"]).all()
    size = (inputs - bench.inputs).abs().flatten(1).amax(1)
    assert torch.allclose(found.facts["size of the perturbation"], size.double())
    assert (size <= EPSILON + 1e-6).all()
    change = found.facts["confidence after"] - found.facts["confidence before"]
    assert (change.abs() <= 0.1 + 1e-6).all()


def test_noise_has_the_sizes_of_the_attack(recorder):
    """Ten draws after ten candidates, of the same absolute values at other places."""
    bench = xai.Bench(load_digits(4))
    asked = recorder(gradient)
    found = kept_under_attack(bench, named(asked), top_values)
    bench.close()
    delta = (found.tensors["adversarial input"] - bench.inputs).abs().flatten(1).sort(1).values
    draws = asked.inputs[-10:]
    for noisy in draws:
        noise = (noisy - bench.inputs).abs().flatten(1).sort(1).values
        assert torch.allclose(noise, delta, atol=1e-6)
    assert not torch.equal(draws[0], draws[1])
    kept = torch.stack(
        [topk_intersection(maps, found.tensors["map"], fraction=0.2) for maps in asked.maps[-10:]]
    )
    assert torch.allclose(
        kept.mean(0), found.facts["share of the top 20 % kept after noise of the same size"]
    )
    assert torch.allclose(
        kept.amin(0), found.facts["share of the top 20 % kept after the worst of 10 draws of noise"]
    )


def test_noise_that_changes_the_prediction_is_no_match(monkeypatch):
    real, calls = module.keeps_prediction, []

    def spy(bench, inputs):
        calls.append(inputs)
        counts = real(bench, inputs)
        counts[0] = False  # of the first image no draw counts,
        counts[1] &= len(calls) > 1  # of the second all but one
        return counts

    monkeypatch.setattr(module, "keeps_prediction", spy)
    bench = xai.Bench(load_digits(6))
    found = kept_under_attack(bench, named(gradient), top_values)
    bench.close()
    assert len(calls) == 10
    assert found.limits[0].isnan()
    assert found.limits[1:].isfinite().all()
    assert found.left_out["noise of the same size changes the prediction"] == 1


# -------------------------------------------------------------------------------------- controls


@pytest.mark.parametrize("check", ["map_fooling_topk", "map_fooling_target"])
def test_a_map_that_can_be_pointed_anywhere_fails(check, verdict, grey):
    failed = verdict(check, pointing, grey)
    assert failed.outcome == "failed"
    assert failed.figure < 0.2
    assert "through the explainer's own computation; 10 candidates per image." in failed.reason


@pytest.mark.slow
def test_without_gradients_it_is_found_as_well(verdict, grey):
    failed = verdict("map_fooling_blackbox", pointing, grey)
    assert failed.outcome == "failed"
    assert "without gradients; 64 candidates per image." in failed.reason


def test_the_gradient_of_a_linear_model_passes(verdict, grey):
    passed = verdict("map_fooling_topk", gradient, grey)
    assert (passed.outcome, passed.figure) == ("passed", 1.0)
    assert "Means over the images: value 1, limit 0.5" in passed.reason


def test_an_image_with_a_constant_map_cannot_tell(verdict):
    subject = load_digits(2)
    unknown = verdict("map_fooling_topk", explainers.get("control:ConstantMap"), subject)
    assert unknown.outcome == "undecided"
    assert "2 images left out: maps for which the figure is not defined." in unknown.reason


def test_one_image_has_no_null(verdict):
    assert verdict("map_fooling_topk", gradient, load_digits(1)).outcome == "not_applicable"


def test_an_attack_leaves_the_model_as_it_was(photograph, changed):
    subject = load_digits(4)
    before = photograph(subject.model)
    bench = xai.Bench(subject)
    for explainer in (named(pointing), named(input_x_gradient)):
        goal = top_values(bench.maps(explainer), bench.targets)
        fool(bench, explainer, goal, epsilon=0.1, steps=4)
    bench.close()
    assert changed(before, photograph(subject.model)) == []


# -------------------------------------------------------------------------------------- the report


def reread(row, subject):
    """The adversarial input of a row of a report, and the image that it was made of."""
    example = row["counterexample"]
    return unpacked(example["adversarial_input"]), subject.inputs[example["image"]], example


def keeps_its_word(row, subject):
    """Class, confidence, bounds and budget of what a report shows, from its text alone."""
    adversarial, original, example = reread(row, subject)
    assert adversarial.shape == original.shape
    assert adversarial.dtype == original.dtype
    with torch.no_grad():
        before, after = subject.model(torch.stack([original, adversarial])).softmax(1)
    assert after.argmax() == before.argmax()
    assert (after - before)[before.argmax()].abs() <= 0.1 + 1e-6
    size = float((adversarial - original).abs().max())
    assert size == pytest.approx(example["facts"]["size of the perturbation"], abs=1e-7)
    assert 0 < size <= example["facts"]["largest size allowed"] + 1e-6
    low, high = subject.bounds
    return bool(low <= adversarial.min() <= adversarial.max() <= high)


@pytest.mark.parametrize(
    "check", [pytest.param(c, marks=() if c == CHECKS[0] else pytest.mark.slow) for c in CHECKS]
)
def test_what_a_report_shows_can_be_read_again(check, verdict, grey):
    failed = verdict(check, pointing, grey)
    row = json.loads(report([failed], Run(alpha=0.05)))["results"][0]
    jsonschema.validate(row, {"$defs": SCHEMA["$defs"], "$ref": "#/$defs/row"})
    assert keeps_its_word(row, grey)
    adversarial, _, example = reread(row, grey)
    assert torch.equal(adversarial, failed.tensors["adversarial input"])
    # The figure is the map's at that very input.
    targets = grey.targets[[example["image"]]]
    after = pointing(grey.model, adversarial[None], targets)
    assert torch.allclose(after[0], failed.tensors["map after the attack"])


def test_the_attack_without_gradients_asks_for_none(finding, borderline):
    """Of a map that has one: the model is only ever run forward."""

    def explain(model, inputs, targets):
        return inputs * model(inputs).softmax(1).gather(1, targets[:, None])

    subject = xai.Subject(borderline.model, borderline.inputs[:2], bounds=(0, 1))
    found, bench = finding("map_fooling_blackbox", explain, subject)
    assert len(found.values) == 2
    assert bench.counter.spent.forward > 200
    assert bench.counter.spent.backward == 0
