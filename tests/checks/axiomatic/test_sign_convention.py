"""The signs of the attributions mean what the explainer declares."""

from functools import partial

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import gradient, input_x_gradient, integrated_gradients, occlusion
from pytest_xai import explainers

CHECK = "sign_convention"
SUBJECTS = ["digits", "normed", "table", "signal", "one_logit", "scalar"]
ROUNDING = 8 * torch.finfo(torch.float64).eps


def declared(sign, explainer, *, baseline=False):
    """The explainer with a declared sign."""

    def explain(*given, **options):
        return explainer(*given, **options)

    return xai.explainer(sign=sign, needs_baseline=baseline)(explain)


EVIDENCE = {
    "product": declared("evidence", input_x_gradient),
    "ig": declared("evidence", integrated_gradients(steps=4), baseline=True),
    "occlusion": declared("evidence", occlusion, baseline=True),
}


@pytest.mark.parametrize("explainer", EVIDENCE.values(), ids=EVIDENCE)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_contributions_are_evidence(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.images, passed.direction) == ("passed", 32, ">=")
    assert passed.figure > 0.1


@pytest.mark.parametrize("change", [torch.abs, torch.relu, torch.square])
@pytest.mark.parametrize("subject", ["digits", "table"])
def test_what_has_no_values_below_zero_is_not_negative(change, subject, verdict, request):
    explainer = declared("non_negative", lambda *given: change(gradient(*given)))
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.limit) == ("passed", 0)
    assert passed.figure >= 0


@pytest.mark.parametrize("least, figure", [(0.0, 0.0), (-1e-12, -5e-13), (-1.0, -0.5)])
def test_one_value_below_zero_is_too_many(least, figure, verdict, table):
    def explain(model, inputs, targets):
        maps = torch.zeros_like(inputs)
        maps[:, 3], maps[:, 7] = 2, least
        return maps

    judged = verdict(CHECK, declared("non_negative", explain), table)
    assert judged.figure == figure
    assert judged.outcome == ("passed" if least == 0 else "failed")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_ends_speak_for_and_against_the_target(subject, recorder, finding, request):
    """The first feature for every other class, the last for the others, louder than the model."""
    subject = request.getfixturevalue(subject)
    asked = recorder(integrated_gradients(steps=2), needs_baseline=True, sign="evidence")
    _, bench = finding(CHECK, asked, subject)
    model, network = asked.models
    (inputs, again), baseline = asked.inputs, bench.baseline.flatten(1)
    assert model is subject.model
    assert torch.equal(inputs, again)
    rows, low, high = inputs.flatten(1), *bench.bounds
    for end in (0, -1):
        assert torch.equal(rows[:, end], baseline[:, end].clamp(min=0) + (high - low))
    assert torch.equal(rows[:, 1:-1], bench.inputs.flatten(1)[:, 1:-1])
    added = (network(inputs) - model(inputs)).double()
    turns = torch.tensor([1.0, -1.0]).repeat(10)[: bench.classes]
    assert torch.equal(added.sign(), turns.expand_as(added).double())
    # Either alone exceeds everything the model does a hundred times.
    assert added.abs().min() > 100 * max(model(inputs).abs().max(), asked.maps[0].abs().max())
    flat = rows.clone()
    flat[:, 0] = 0
    against = (network(flat.view_as(inputs)) - model(flat.view_as(inputs))).double()
    assert torch.equal(against.sign(), -turns.expand_as(against).double())
    assert against.abs().min() > 99 * max(model(inputs).abs().max(), asked.maps[0].abs().max())


@pytest.mark.parametrize("bounds, span", [((0.0, 1.0), 1.0), ((-1.0, 3.0), 1.0), ((0.0, 0.5), 0.5)])
@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_the_evidence_is_four_hundred_times_the_largest_number(bounds, span, scale, finding):
    """Of outputs, those at the baseline, and attributions; 1 where all are zero."""
    weight = scale * torch.tensor([[0.25, -8.0, 0.5], [0.5, 0.25, 1.0]]).double()
    inputs = torch.full((4, 3), 0.25).double()
    subject = xai.Subject(models.linear(weight), inputs, torch.zeros(4).long(), bounds=bounds)
    networks = []

    def explain(model, inputs, targets):
        networks.append(model)
        return scale * 3 * torch.ones_like(inputs)

    finding(CHECK, declared("evidence", explain), subject)
    # The largest is an output or an attribution of 3.
    size, (low, high) = 1.0, bounds
    if scale:
        raised = inputs[:1].clone()
        raised[:, 0] = raised[:, 2] = high - low
        size = max(3.0, models.linear(weight)(raised).abs().max().item())
    one = torch.tensor([[1.0, 0, 0]]).double()
    added = networks[1](one) - models.linear(weight)(one)
    assert torch.allclose(added, 400 * size / span * torch.tensor([[1.0, -1.0]]).double())
    last = torch.tensor([[0, 0, 1.0]]).double()
    against = networks[1](last) - models.linear(weight)(last)
    assert torch.allclose(against, -100 * size / span * torch.tensor([[1.0, -1.0]]).double())


def test_what_is_zero_everywhere_fails_by_zero_and_not_by_nothing(finding, table):
    found, _ = finding(CHECK, declared("evidence", lambda model, x, t: 0 * x), table)
    assert (found.values == 0).all()


def test_ends_exceed_a_baseline_that_is_not_zero(recorder, finding):
    asked = recorder(integrated_gradients(steps=2), needs_baseline=True, sign="evidence")
    baseline = torch.tensor([[-2.0, 0.0, 5.0]]).double()
    subject = xai.Subject(
        models.chain(3, 2), torch.rand(4, 3).double(), baseline=baseline, bounds=(-4, 8)
    )
    finding(CHECK, asked, subject)
    assert asked.inputs[0][:, 0].tolist() == [12.0] * 4
    assert asked.inputs[0][:, 2].tolist() == [17.0] * 4


def test_the_figure_is_the_smaller_of_the_two(finding, table):
    def explain(model, inputs, targets):
        maps = torch.zeros_like(inputs)
        turn = 1.0 - 2 * (targets % 2)
        maps[:, 0], maps[:, 5], maps[:, -1] = 3 * turn, 4, -1 * turn
        return maps

    found, bench = finding(CHECK, declared("evidence", explain), table)
    assert (found.values == 0.25).all()
    assert found.limits == bench.rounding
    assert (found.facts["first feature, with expected sign"] == 3).all()
    assert (found.facts["last feature, with expected sign"] == 1).all()


@pytest.mark.parametrize(
    "change, figure",
    [(torch.neg, -1.0), (torch.abs, None), (lambda maps: 0 * maps, 0.0)],
    ids=["turned", "lost", "zero"],
)
@pytest.mark.parametrize("subject", ["digits", "table", "one_logit"])
def test_another_sign_fails(change, figure, subject, verdict, request):
    def explain(*given):
        return change(input_x_gradient(*given))

    failed = verdict(CHECK, declared("evidence", explain), request.getfixturevalue(subject))
    assert failed.outcome == "failed"
    assert failed.figure < ROUNDING
    if figure is not None:
        assert failed.figure == pytest.approx(figure)
    assert "evidence for the target" in failed.reason


def test_evidence_of_another_output_fails(verdict, table):
    def explain(model, inputs, targets):
        return input_x_gradient(model, inputs, (targets + 1) % 3)

    failed = verdict(CHECK, declared("evidence", explain), table)
    assert failed.outcome == "failed"
    assert "that of another output" in failed.reason


def test_a_feature_alone_speaks_for_the_target(verdict):
    """There is no second place that could speak against it."""
    generator = torch.Generator().manual_seed(0)
    column = torch.rand(32, 1, generator=generator).double()
    pixel = torch.rand(32, 2, 1, 1, generator=generator).double()
    head = torch.nn.Sequential(torch.nn.Flatten(), models.chain(2, 4, 2)).eval()
    for subject in (xai.Subject(models.chain(1, 3, 2), column), xai.Subject(head, pixel)):
        passed = verdict(CHECK, EVIDENCE["product"], subject)
        assert (passed.outcome, passed.figure) == ("passed", 1)
        failed = verdict(CHECK, WRONG["turns the sign of evidence round"].explainer, subject)
        assert failed.outcome == "failed"


def test_images_of_one_column_have_two_ends(verdict):
    head = torch.nn.Sequential(torch.nn.Flatten(), models.chain(3, 4, 2)).eval()
    inputs = torch.rand(8, 1, 3, 1, generator=torch.Generator().manual_seed(0)).double()

    def first_alone(*given):
        maps = input_x_gradient(*given)
        maps[:, :, 1:] = 0
        return maps

    subject = xai.Subject(head, inputs)
    assert verdict(CHECK, EVIDENCE["product"], subject).outcome == "passed"
    assert verdict(CHECK, declared("evidence", first_alone), subject).outcome == "failed"


def test_who_declares_nothing_is_not_judged(verdict, digits):
    nothing = verdict(CHECK, xai.explainer(claims={CHECK})(partial(gradient)), digits)
    assert nothing.outcome == "not_applicable"
    assert "declares no sign" in nothing.reason


def test_zero_maps_are_not_negative_but_tell_nothing(verdict, digits):
    zero = verdict(CHECK, declared("non_negative", lambda model, x, t: 0 * x), digits)
    assert zero.outcome == "undecided"
    assert "32 images left out: zero maps." in zero.reason


@pytest.mark.parametrize(
    "spec, options, sign",
    [
        ("captum:Saliency", {}, "non_negative"),
        ("captum:Saliency", {"absolute": False}, None),
        ("captum:LayerGradCam", {}, "non_negative"),
        ("xai:FEM", {}, "non_negative"),
        ("captum:IntegratedGradients", {}, "evidence"),
        ("captum:DeepLift", {}, "evidence"),
        ("captum:Occlusion", {}, "evidence"),
        ("zennit:LRPZero", {}, "evidence"),
        ("zennit:ZPlus", {}, None),
    ],
)
def test_methods_of_the_gallery(spec, options, sign, verdict, digits):
    explainer = explainers.get(spec, **options)
    assert explainer.traits.sign == sign
    assert (CHECK in explainer.traits.claims) == (sign is not None)
    outcome = "not_applicable" if sign is None else "passed"
    assert verdict(CHECK, explainer, digits).outcome == outcome


@pytest.mark.parametrize("largest, figure", [(-1.0, -1.0), (0.5, -1.0), (6.0, -0.5)])
def test_the_smallest_is_shown_as_a_share_of_the_largest_without_its_sign(
    largest, figure, verdict, table
):
    def explain(model, inputs, targets):
        maps = torch.full_like(inputs, largest)
        maps[:, 3] = -3
        return maps

    assert verdict(CHECK, declared("non_negative", explain), table).figure == figure


def test_the_evidence_of_small_attributions_counts(verdict, table):
    small = declared("evidence", lambda *given: 1e-12 * input_x_gradient(*given))
    passed = verdict(CHECK, small, table)
    assert passed.outcome == "passed"
    assert passed.figure > 0.1


def test_of_two_features_both_are_asked_for(verdict):
    subject = xai.Subject(models.chain(2, 4, 3), torch.rand(8, 2).double(), bounds=(0, 1))
    assert verdict(CHECK, EVIDENCE["product"], subject).outcome == "passed"

    def explain(*given):
        maps = input_x_gradient(*given)
        maps[:, 1] *= -1
        return maps

    assert verdict(CHECK, declared("evidence", explain), subject).outcome == "failed"
