"""The map of an image does not depend on the images beside it."""

import pytest
import torch

import pytest_xai as xai
from fixtures.loops import crossed
from fixtures.right import gradient, integrated_gradients, occlusion, smooth_gradient


@pytest.mark.parametrize(
    *crossed(
        [gradient, integrated_gradients(steps=4), occlusion, smooth_gradient],
        ["gradient", "ig", "occlusion", "smooth"],
        subjects=["digits", "normed", "table", "signal", "one_logit", "scalar"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict("batch_independent", explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.images == 32


def test_companions_are_exchanged_and_everyone_is_asked_alone(recorder, finding, signal):
    asked = recorder(integrated_gradients(steps=2), needs_baseline=True)
    _, bench = finding("batch_independent", asked, signal)
    assert [len(inputs) for inputs in asked.inputs] == [32, 32, 32] + [1] * 32
    for kept in (0, 1):
        call = 1 + kept
        stays = torch.arange(32) % 2 == kept
        for given, own in (
            (asked.inputs[call], bench.inputs),
            (asked.targets[call], bench.targets),
            (asked.baselines[call], bench.baseline),
        ):
            assert torch.equal(given[stays], own[stays])
        moved = ~torch.isclose(asked.inputs[call], bench.inputs).flatten(1).all(1)
        assert torch.equal(moved, ~stays)
        # Each stranger comes as it is in the subject, with its own target and baseline.
        for row in (~stays).nonzero().flatten().tolist():
            source = (asked.inputs[call][row] == bench.inputs).flatten(1).all(1).nonzero().item()
            assert asked.targets[call][row] == bench.targets[source]
            assert torch.equal(asked.baselines[call][row], bench.baseline[source])
    for row in range(32):
        assert torch.equal(asked.inputs[3 + row][0], bench.inputs[row])
        assert torch.equal(asked.targets[3 + row][0], bench.targets[row])
        assert torch.equal(asked.baselines[3 + row][0], bench.baseline[row])


def test_a_change_alone_is_measured(finding, digits):
    """A map 5/4 as large in company: the change is 1/5 of the larger."""

    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) * (1.25 if len(inputs) > 1 else 1)

    found, _ = finding("batch_independent", explain, digits)
    assert torch.allclose(found.values, torch.tensor(0.2).double(), atol=1e-6)
    assert torch.allclose(found.facts["change when explained alone"], found.values)
    assert (found.facts["change with other images in the batch"] == 0).all()


def test_a_change_by_companions_is_measured(finding, digits):
    """A map times the batch's largest ink, by hand for every image."""

    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) * inputs.sum()

    found, bench = finding("batch_independent", explain, digits)
    ink = bench.inputs.double().flatten(1).sum(1)
    even, odd = ink[0::2].sum(), ink[1::2].sum()
    # Odd rows give way to the even images that follow them, even rows to those before.
    others = torch.stack([2 * even, 2 * odd]).repeat(16)
    expected = (others - ink.sum()).abs() / others.clamp_min(ink.sum())
    assert torch.allclose(found.facts["change with other images in the batch"], expected, atol=1e-5)
    assert torch.allclose(
        found.facts["change when explained alone"], (ink.sum() - ink) / ink.sum(), atol=1e-5
    )


@pytest.mark.parametrize("spoilt", [0, 1, 30, 31])
def test_a_defect_that_one_image_suffers_is_found(spoilt, finding, digits):
    """Only the image at one place sees its neighbour."""

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        if len(inputs) > spoilt:
            maps[spoilt] += inputs.mean()
        return maps

    found, _ = finding("batch_independent", xai.explainer(stochastic=True)(explain), digits)
    assert (found.values > found.limits).nonzero().flatten().tolist() == [spoilt]


def test_noise_that_is_drawn_for_the_whole_batch_is_no_dependence(verdict, digits):
    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) + torch.randn_like(inputs)

    declared = xai.explainer(stochastic=True)(explain)
    assert verdict("batch_independent", declared, digits).outcome == "passed"


def test_declared_noise_does_not_excuse_a_batch_maximum(verdict, digits):
    @xai.explainer(stochastic=True)
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps / maps.max()

    assert verdict("batch_independent", explain, digits).outcome == "failed"


def test_what_only_float32_does_is_rounding(verdict, digits):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        company = len(inputs) > 1
        return maps * 1.01 if maps.dtype == torch.float32 and company else maps

    passed = verdict("batch_independent", explain, digits)
    assert passed.outcome == "passed"
    assert passed.reason == "Decided in float64: the float32 difference is rounding."
    failed = verdict(
        "batch_independent",
        lambda *args: explain(*args) * (1.01 if len(args[1]) > 1 else 1),
        digits,
    )
    assert failed.outcome == "failed"
    assert "Confirmed in float64." in failed.reason


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (30.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict, table):
    unit = 8 * torch.finfo(torch.float64).eps * (3 * 20) ** 0.5

    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) * (1 + share * unit * (len(inputs) > 1))

    assert verdict("batch_independent", explain, table).outcome == outcome


@pytest.mark.parametrize("size, outcome", [(1e-17, "passed"), (1e-9, "failed")])
def test_a_map_that_is_zero_but_for_rounding(size, outcome, verdict, table):
    """Differences of equal outputs are zero, or what rounding leaves: in one batch or the other."""

    def explain(model, inputs, targets):
        return torch.zeros_like(inputs) + size * (len(inputs) == 1)

    assert verdict("batch_independent", explain, table).outcome == outcome


def test_one_image_has_no_companions(verdict):
    subject = xai.Subject(torch.nn.Linear(3, 2).eval(), torch.rand(1, 3))
    nothing = verdict("batch_independent", gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "needs two images or more"


def test_batches_of_other_sizes(verdict, digits, monkeypatch):
    """More images than one batch holds: the defect is found inside each batch."""
    monkeypatch.setattr("pytest_xai.bench.images._ELEMENTS", 8 * 64)
    assert verdict("batch_independent", gradient, digits).outcome == "passed"

    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) - inputs.mean(0)

    assert verdict("batch_independent", explain, digits).outcome == "failed"


@pytest.mark.parametrize("images", [2, 3])
def test_few_images_are_exchanged_as_well(images, verdict, finding, digits):
    subject = xai.Subject(digits.model, digits.inputs[:images], digits.targets[:images])
    assert verdict("batch_independent", gradient, subject).outcome == "passed"

    @xai.explainer(stochastic=True)
    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) * inputs.sum()

    found, _ = finding("batch_independent", explain, subject)
    assert (found.values > 1e-3).all()
