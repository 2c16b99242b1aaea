"""The map of an image answers to its own target, and to no other image's."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.loops import crossed
from fixtures.right import gradient, integrated_gradients, smooth_gradient
from pytest_xai import explainers


@pytest.mark.parametrize(
    *crossed(
        [gradient, integrated_gradients(steps=4), smooth_gradient],
        ["gradient", "ig", "smooth"],
        subjects=["digits", "normed", "table", "signal"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict("target_sensitive", explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.images, passed.reason) == ("passed", 32, "")


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_the_figure_is_the_largest_change_over_three_other_targets(classes, finding):
    """Maps of a linear model are the rows of its weight."""
    weight = torch.randn(
        classes, 6, generator=torch.Generator().manual_seed(classes), dtype=torch.float64
    )
    subject = xai.Subject(models.linear(weight), torch.rand(32, 6).double())
    found, bench = finding("target_sensitive", gradient, subject)
    expected = [
        max(
            (
                (weight[(t + step) % classes] - weight[t]).abs().max()
                / weight[[t, (t + step) % classes]].abs().max()
            ).item()
            for step in range(1, min(3, classes - 1) + 1)
        )
        for t in bench.targets.tolist()
    ]
    assert torch.allclose(found.values, torch.tensor(expected).double(), atol=1e-12)
    assert (found.facts["change with another image's target"] == 0).all()
    assert found.limits == bench.rounding


def test_each_image_is_asked_with_its_own_targets(recorder, finding, digits):
    asked = recorder(gradient)
    _, bench = finding("target_sensitive", asked, digits)
    own = bench.targets
    odd = torch.arange(32) % 2 == 1
    shifts = [(targets - own) % 10 for targets in asked.targets]
    assert all(torch.equal(inputs, bench.inputs) for inputs in asked.inputs)
    expected = [
        torch.zeros(32),
        odd * 1,
        ~odd * 1,
        torch.full((32,), 2),
        torch.full((32,), 3),
    ]
    assert [shift.tolist() for shift in shifts] == [shift.tolist() for shift in expected]


@pytest.mark.parametrize("classes, calls", [(2, 3), (3, 4), (4, 5), (5, 5)])
def test_no_image_is_asked_twice_with_the_same_target(classes, calls, recorder, finding):
    asked = recorder(gradient)
    subject = xai.Subject(models.chain(3, classes), torch.rand(4, 3).double())
    finding("target_sensitive", asked, subject)
    assert len(asked.maps) == calls


@pytest.mark.parametrize("share", [1.0, 1e-2])
def test_a_leak_is_found_however_small(share, verdict, digits):
    """A share of the map is that of another image's target."""

    def explain(model, inputs, targets):
        own = gradient(model, inputs, targets)
        return own + share * (gradient(model, inputs, targets.flip(0)) - own)

    failed = verdict("target_sensitive", explain, digits)
    assert failed.outcome == "failed"
    assert (failed.figure, failed.direction) == (0, ">=")
    assert "The map depends on another image's target" in failed.reason
    facts = failed.counterexample["facts"]
    assert facts["change with another image's target"] > 1e-4
    # The image's own response is there, and does not make up for it.
    assert facts["change with its own target"] > 1e-4 or share == 1.0


@pytest.mark.parametrize("share, outcome", [(0.1, "passed"), (30.0, "failed")])
def test_a_leak_is_all_that_is_beyond_rounding(share, outcome, verdict, table):
    unit = 8 * torch.finfo(torch.float64).eps * (3 * 20) ** 0.5

    def explain(model, inputs, targets):
        own = gradient(model, inputs, targets)
        return own + share * unit * (gradient(model, inputs, targets.flip(0)) - own)

    assert verdict("target_sensitive", explain, table).outcome == outcome


def test_a_leak_into_one_image_only(finding, digits):
    def explain(model, inputs, targets):
        targets[5] = targets[6]
        return gradient(model, inputs, targets)

    found, bench = finding("target_sensitive", explain, digits)
    assert (found.values <= bench.rounding).nonzero().flatten().tolist() == [5]


def test_some_blind_images_fail_it_and_are_said_to_be_some(verdict, finding, digits):
    def explain(model, inputs, targets):
        targets[::4] = 0
        return gradient(model, inputs, targets)

    failed = verdict("target_sensitive", explain, digits)
    assert failed.outcome == "failed"
    assert failed.reason.startswith("For some images the map is the same for every target.")
    found, bench = finding("target_sensitive", explain, digits)
    blind = (found.values <= bench.rounding).nonzero().flatten().tolist()
    assert blind == list(range(0, 32, 4))


def test_zero_maps_of_some_images_do_not_count(verdict, digits):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return torch.where((inputs.sum((1, 2, 3)) > 19.5)[:, None, None, None], maps, 0)

    judged = verdict("target_sensitive", explain, digits)
    assert judged.outcome == "passed"
    assert 0 < judged.images < 32
    assert f"{32 - judged.images} images left out: zero maps" in judged.reason


def test_declared_class_agnostic_is_believed(verdict, digits):
    agnostic = xai.explainer(class_agnostic=True)(lambda model, inputs, targets: inputs)
    nothing = verdict("target_sensitive", agnostic, digits)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "the explainer is declared class-agnostic"


@pytest.mark.parametrize("subject", ["one_logit", "scalar"])
def test_a_single_output_has_no_other_target(subject, verdict, request):
    nothing = verdict("target_sensitive", gradient, request.getfixturevalue(subject))
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "the model has a single output"


def absolute(model, inputs, targets):
    return gradient(model, inputs, targets).abs()


class Mirrored(nn.Module):
    """Two logits that add up to a constant, as training with a softmax makes them."""

    def __init__(self):
        super().__init__()
        self.body = models.chain(6, 8, 1)

    def forward(self, inputs):
        score = self.body(inputs)
        return torch.cat([score + 3, 1 - score], 1)


def test_absolute_maps_of_two_mirrored_classes_cannot_tell(verdict):
    subject = xai.Subject(Mirrored(), torch.rand(32, 6).double())
    unknown = verdict("target_sensitive", absolute, subject)
    assert unknown.outcome == "undecided"
    assert "32 images left out: zero maps, or logits of opposite sign." in unknown.reason
    assert verdict("target_sensitive", gradient, subject).outcome == "passed"


class Totalling(nn.Module):
    """Two logits, the first as given, that add up to a number that is given too."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset

    def forward(self, inputs):
        first, total = inputs[:, :1], inputs[:, 1:]
        return torch.cat([first, total - first], 1) + self.offset


@pytest.mark.parametrize(
    "first, total, offset, mirrored",
    [
        ((1000, -1000), (1, -1), 0, True),  # a thousandth of the largest, exactly
        ((1000, -1000), (1.01, -1.01), 0, False),
        ((1000, -1000, 0, 0), (0, 0, 0, -1.5), 0, False),  # far to one side
        ((1000, -1000), (1, -1), -5000, True),
        ((1, -1), (0, 0), -5000, True),
        ((1, -1), (7, 7), 0, True),
    ],
)
def test_classes_mirror_each_other_where_their_sum_is_as_good_as_constant(
    first, total, offset, mirrored, verdict
):
    inputs = torch.tensor([first, total]).double().T
    judged = verdict(
        "target_sensitive", lambda _, inputs, __: inputs + 1, xai.Subject(Totalling(offset), inputs)
    )
    assert judged.outcome == ("undecided" if mirrored else "failed")


def test_two_classes_that_do_not_mirror_each_other_can_tell(verdict):
    subject = xai.Subject(models.chain(6, 8, 2), torch.rand(32, 6).double())
    assert verdict("target_sensitive", absolute, subject).outcome == "passed"
    ignored = verdict("target_sensitive", lambda model, inputs, targets: inputs, subject)
    assert ignored.outcome == "failed"


def test_zero_maps_of_mirrored_classes_fail(verdict):
    subject = xai.Subject(Mirrored(), torch.rand(32, 6).double())
    zero = verdict("target_sensitive", lambda model, inputs, targets: 0 * inputs, subject)
    assert zero.outcome == "failed"


@pytest.mark.parametrize("spec", ["control:RandomMap", "control:ConstantMap"])
def test_controls_of_the_gallery_fail(spec, verdict, digits):
    failed = verdict("target_sensitive", explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert "The map is the same for every target" in failed.reason


@pytest.mark.parametrize("spec", ["captum:Saliency", "captum:GuidedBackprop"])
def test_rules_of_captum_pass(spec, verdict, digits):
    assert verdict("target_sensitive", explainers.get(spec), digits).outcome == "passed"
