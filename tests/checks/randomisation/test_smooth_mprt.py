"""The map, averaged over noisy inputs, changes when weights are re-initialised."""

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient, integrated_gradients, smooth_gradient
from pytest_xai import explainers
from pytest_xai.core.seeds import generator

CHECK = "smooth_mprt"


@pytest.mark.parametrize(
    "explainer, subject",
    [
        pytest.param(gradient, "normed", id="gradient"),
        pytest.param(integrated_gradients(steps=4), "digits", id="ig"),
        pytest.param(smooth_gradient, "table", id="smooth"),
        pytest.param(gradient, "signal", id="signal"),
    ],
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    assert verdict(CHECK, explainer, request.getfixturevalue(subject)).outcome == "passed"


@pytest.mark.parametrize("spec", ["control:EdgeDetector", "control:RandomMap"])
def test_what_does_not_look_at_the_model_fails(spec, verdict, digits):
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert failed.figure == pytest.approx(1, abs=1e-12)


def averaged(model, group):
    """Ten maps of inputs with noise of a tenth of the image's range."""
    rows = []
    for image, inputs, target in zip(group.images, group.inputs, group.targets, strict=True):
        seed = group.derive_seed("smooth", image)
        noise = torch.randn(10, *inputs.shape, generator=generator(seed))
        spread = 0.1 * (inputs.max() - inputs.min())
        maps = gradient(model, inputs + spread * noise, target.expand(10))
        rows.append(maps.double().mean(0))
    return torch.stack(rows)


def test_the_figure_is_that_of_means_over_noisy_inputs(finding, digits, by_hand):
    correlations, reinitialised, halves = by_hand
    found, bench = finding(CHECK, gradient, digits)
    names = ["conv1", "conv2", "fc1", "fc2"]
    steps = [
        torch.cat(
            [
                correlations(
                    averaged(digits.model, g), averaged(reinitialised(g, names[:count]), g)
                )
                for g in halves(bench)
            ]
        )
        for count in range(1, 5)
    ]
    # Batches of one and of sixteen differ by rounding, which may swap the ranks of two pixels.
    assert torch.allclose(found.values, torch.stack(steps).mean(0), atol=1e-3)


def test_noise_follows_the_range_of_each_image_not_its_place(recorder, finding):
    """The images lie from 5 to 7 and from -20 to -10."""
    inputs = torch.tensor([[5.0, 6, 7, 6] * 50, [-20.0, -10, -15, -15] * 50]).double()
    asked = recorder(gradient)
    _, bench = finding(CHECK, asked, xai.Subject(models.chain(200, 3, 2), inputs))
    spread = (torch.stack(asked.inputs[:10]) - bench.inputs).std((0, 2))
    expected = 0.1 * (bench.inputs.amax(1) - bench.inputs.amin(1))
    assert spread == pytest.approx(expected, rel=0.1)


def test_an_image_has_the_same_noise_in_every_group_and_another_than_its_neighbour(
    recorder, finding, digits
):
    asked = recorder(gradient)
    _, bench = finding(CHECK, asked, digits)
    trained = [inputs - bench.inputs for inputs in asked.inputs[:10]]
    again = [inputs - bench.inputs[:16] for inputs in asked.inputs[10:20]]
    for first, second in zip(trained, again, strict=True):
        assert torch.allclose(first[:16], second)
    noise = torch.stack(trained)
    assert noise.flatten(0, 1).flatten(1).std(1).mean() == pytest.approx(0.1, rel=0.05)
    assert len(noise.flatten(0, 1)[:, 0, 0, 0].unique()) == 320
