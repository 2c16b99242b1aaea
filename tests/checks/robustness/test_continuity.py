"""Nearly equal inputs have nearly equal maps."""

import itertools

import pytest
import torch

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
from pytest_xai.protocol import named

CHECK = "continuity"


@pytest.mark.parametrize(
    *crossed(
        [integrated_gradients(steps=8), occlusion, smooth_gradient, input_x_gradient],
        ["ig", "occlusion", "smooth", "product"],
        subjects=["digits", "normed", "table", "signal"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.interval[0] <= passed.figure <= passed.interval[1] < passed.limit


@pytest.mark.parametrize("subject", ["one_logit", "scalar"])
def test_right_explainers_pass_on_a_single_output(subject, verdict, request):
    passed = verdict(CHECK, integrated_gradients(steps=8), request.getfixturevalue(subject))
    assert passed.outcome == "passed"


# ------------------------------------------------------------------------------------------ figures


@pytest.fixture
def linear():
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    inputs = torch.rand(32, 12, generator=generator, dtype=torch.float64)
    subject = xai.Subject(models.linear(weight), inputs, torch.arange(32) % 3, bounds=(-1, 2))
    return subject, weight


def shares(maps):
    return maps / maps.abs().flatten(1).sum(1).reshape(-1, *[1] * (maps.ndim - 1))


def test_the_gradient_of_a_linear_model_never_changes(finding, linear):
    subject, weight = linear
    found, bench = finding(CHECK, gradient, subject)
    assert (found.values == 0).all()
    assert (found.facts["largest |dR|_1 / |dx|_2"] == 0).all()
    # The null: half the mass that the rows of two classes put elsewhere.
    own = weight[bench.targets]
    others = []
    for place, target in enumerate(bench.targets.tolist()):
        following = itertools.chain(bench.targets[place:].tolist(), bench.targets.tolist())
        others.append(weight[next(other for other in following if other != target)])
    null = (shares(own) - shares(torch.stack(others))).abs().sum(1) / 2
    assert torch.allclose(found.facts["change to another image's map"], null)
    assert torch.allclose(found.limits, null / 2)
    length = 3 / 255 * 12**0.5
    expected = (own - torch.stack(others)).abs().sum(1) * 4 / length
    assert torch.allclose(found.facts["|dR|_1 / |dx|_2 to another image's map"], expected)


@pytest.mark.parametrize("subject", ["linear", "signal"])
def test_the_figure_is_the_largest_change_over_one_step(subject, recorder, finding, request):
    """By hand, from what the explainer was asked and what it answered."""
    subject = request.getfixturevalue(subject)
    subject = subject[0] if isinstance(subject, tuple) else subject
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, subject)
    low, high = bench.bounds
    length = (high - low) / 255 * subject.inputs[0].numel() ** 0.5
    assert len(asked.maps) == 5
    assert torch.equal(asked.inputs[0], bench.inputs)
    same = [bench.predictions(each) == bench.predictions() for each in asked.inputs]
    changes, ratios = [], []
    for step, (before, after) in enumerate(itertools.pairwise(asked.maps)):
        counts = same[step] & same[step + 1]
        change = (shares(after) - shares(before)).abs().flatten(1).sum(1) / 2
        changes.append(change.where(counts, 0))
        ratios.append(((after - before).abs().flatten(1).sum(1) / (length / 4)).where(counts, 0))
    assert torch.allclose(found.values, torch.stack(changes).amax(0))
    assert torch.allclose(found.facts["largest change"], found.values)
    assert torch.allclose(found.facts["largest |dR|_1 / |dx|_2"], torch.stack(ratios).amax(0))
    assert (found.values > 1e-4).all()


@pytest.mark.parametrize("subject", ["linear", "table", "signal", "digits"])
def test_the_path_is_straight_short_and_within_the_bounds(subject, recorder, finding, request):
    subject = request.getfixturevalue(subject)
    subject = subject[0] if isinstance(subject, tuple) else subject
    asked = recorder(gradient)
    _, bench = finding(CHECK, asked, subject)
    low, high = bench.bounds
    whole = (asked.inputs[4] - bench.inputs).double()
    for step in range(1, 5):
        gone = (asked.inputs[step] - bench.inputs).double()
        assert torch.allclose(gone, whole * step / 4, atol=1e-6)
        assert asked.inputs[step].min() >= low
        assert asked.inputs[step].max() <= high
        assert torch.equal(asked.targets[step], bench.targets)
    length = (high - low) / 255 * subject.inputs[0].numel() ** 0.5
    assert torch.allclose(whole.flatten(1).norm(dim=1), torch.tensor(length).double(), rtol=1e-4)
    directions = whole.flatten(1)
    assert torch.linalg.matrix_rank(directions) == min(directions.shape)


def jumping(when):
    """The input times the gradient, with all signs turned in the calls of the given numbers."""
    calls = itertools.count()

    def explain(model, inputs, targets):
        maps = input_x_gradient(model, inputs, targets)
        return -maps if next(calls) in when else maps

    return explain


@pytest.mark.parametrize("when", [{0}, {1}, {2}, {3}, {4}, {1, 2}])
def test_a_jump_at_any_one_step_is_the_figure(when, finding, digits):
    found, _ = finding(CHECK, jumping(when), digits)
    assert (found.values > 0.95).all()
    assert (found.values > found.limits).all()


@pytest.mark.parametrize("when", [{1}, {4}])
def test_a_jump_fails_it(when, verdict, digits):
    failed = verdict(CHECK, jumping(when), digits)
    assert failed.outcome == "failed"
    assert failed.reason.startswith(
        "The map jumps: the explainer uses a hard threshold or rounding"
    )
    assert "32 of 32 images are above their own limit." in failed.reason
    assert (
        "Means over the images: value 1, limit 0.404, largest change 1, change to another"
        in failed.reason
    )
    assert (failed.figure, failed.limit, failed.images) == (1.0, 0.5, 32)
    assert set(failed.tensors) == {"input", "map", "map at the end of the path"}


def test_rounding_of_every_pixel_fails(verdict, digits):
    """Half of the pixels turn their sign at each step."""

    def explain(model, inputs, targets):
        return (1 - 2 * ((inputs * 1e5).round() % 2)) * gradient(model, inputs, targets)

    assert verdict(CHECK, explain, digits).outcome == "failed"


def test_noise_that_is_drawn_anew_fails(verdict, digits):
    own = torch.Generator().manual_seed(0)

    @xai.explainer(stochastic=True)
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps + 10 * torch.randn(maps.shape, generator=own)

    assert verdict(CHECK, explain, digits).outcome == "failed"


def test_noise_that_follows_the_seed_passes(verdict, digits):
    @xai.explainer(stochastic=True)
    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) + 10 * torch.randn_like(inputs)

    assert verdict(CHECK, explain, digits).outcome == "passed"


def test_a_step_counts_where_both_of_its_ends_keep_the_prediction(finding, digits, monkeypatch):
    """The third of four points is turned over: seen from the second and from the fourth."""
    changed = torch.zeros(4, 32, dtype=torch.long)
    changed[[1, 3], 0] = 1  # no end of those two steps holds at both ends
    changed[3, 1] = 1  # the step before does
    changed[:, 2] = 1
    points = itertools.count()

    def predictions(bench, inputs=None):
        return torch.zeros(len(bench)).long() if inputs is None else changed[next(points)]

    monkeypatch.setattr(xai.Bench, "predictions", predictions)
    found, _ = finding(CHECK, jumping({3}), digits)
    assert found.facts["steps that kept the prediction"][:4].tolist() == [1, 3, 0, 4]
    assert found.values[0] < 0.5
    assert (found.values[[1, 3]] > 0.95).all()
    assert found.values[2].isnan()
    assert found.left_out == {"no step kept the prediction": 1, "zero maps": 0}


def test_zero_maps_do_not_count(verdict, finding, digits):
    calls = itertools.count()

    def explain(model, inputs, targets):
        maps = input_x_gradient(model, inputs, targets)
        if next(calls) == 3:
            maps[:5] = 0
        return maps

    found, _ = finding(CHECK, explain, digits)
    assert found.values.isnan().nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    assert found.left_out == {"no step kept the prediction": 0, "zero maps": 5}
    nothing = verdict(CHECK, lambda model, inputs, targets: 0 * inputs, digits)
    assert nothing.outcome == "undecided"
    assert nothing.reason == "No image could be judged. 128 images left out: zero maps."


def test_one_image_has_no_null(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.rand(1, 4).double(), bounds=(0, 1))
    nothing = verdict(CHECK, gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason.startswith("needs two images or more")


def test_inputs_of_one_value_have_no_range(verdict):
    subject = xai.Subject(models.chain(4, 3), torch.ones(8, 4).double())
    nothing = verdict(CHECK, gradient, subject)
    assert nothing.outcome == "not_applicable"
    assert "pass Subject(bounds=(low, high))" in nothing.reason


def test_each_round_of_images_has_its_own_path(recorder, task_of, digits):
    asked = recorder(smooth_gradient, stochastic=True)
    bench = xai.Bench(digits)
    try:
        for view in (bench.view(0, 32), bench.view(32, 64)):
            xai.checks.get(CHECK).function(view, named(asked))
    finally:
        bench.close()
    first = asked.inputs[4] - asked.inputs[0]
    second = asked.inputs[9] - asked.inputs[5]
    inside = (asked.inputs[0] > 0.05) & (asked.inputs[0] < 0.95)
    inside &= (asked.inputs[5] > 0.05) & (asked.inputs[5] < 0.95)
    assert torch.isclose(first[inside], second[inside], atol=1e-5).double().mean() < 0.1


@pytest.mark.parametrize(
    "spec", ["captum:Saliency", "captum:IntegratedGradients", "captum:LayerGradCam"]
)
def test_methods_of_captum_pass(spec, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == "passed"
