"""The map changes when what the model has learned is drawn anew, from the output down."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.right import (
    gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai import explainers

CHECK = "mprt_cascading"


@pytest.mark.parametrize(
    "explainer",
    [gradient, integrated_gradients(steps=8), occlusion, smooth_gradient],
    ids=["gradient", "ig", "occlusion", "smooth"],
)
@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "one_logit", "scalar"])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.figure < passed.limit


@pytest.mark.parametrize(
    "spec",
    ["captum:Saliency", "captum:IntegratedGradients", "captum:LayerGradCam", "captum:SmoothGrad"],
)
def test_methods_that_depend_on_the_weights_pass(spec, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == "passed"


@pytest.mark.parametrize(
    "spec, figure",
    [
        ("control:EdgeDetector", 1),
        ("control:InputItself", 1),
        ("control:RandomMap", 1),
        ("captum:GuidedBackprop", None),
    ],
)
def test_what_is_blind_to_the_weights_fails(spec, figure, verdict, digits):
    """Guided backpropagation is nearly so (Adebayo 2018); the controls are at every step."""
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert failed.reason.startswith("The map shows the input, not the model")
    assert figure is None or failed.figure == pytest.approx(figure, abs=1e-12)


def test_a_constant_map_cannot_tell(verdict, digits):
    unknown = verdict(CHECK, explainers.get("control:ConstantMap"), digits)
    assert unknown.outcome == "undecided"
    assert unknown.reason == "No image can tell. 128 left out: constant maps."


class Mirrored(nn.Module):
    """Two logits that are each other with the sign turned, of a table."""

    def __init__(self, seed):
        super().__init__()
        self.body = models.chain(8, 1, seed=seed)

    def forward(self, inputs):
        score = self.body(inputs)
        return torch.cat([score, -score], 1)


@pytest.mark.parametrize("seed", range(6))
def test_opposite_maps_of_two_classes_are_no_null(seed, verdict):
    """They have a rank correlation of -1: halfway to it lies 0, where all unrelated maps are."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(64, 8, generator=generator).double()
    subject = xai.Subject(Mirrored(seed), inputs)
    passed = verdict(CHECK, gradient, subject, seed=seed)
    assert passed.outcome != "failed"
    assert "unrelated maps -1" in passed.reason
    assert passed.limit == pytest.approx(0.5)


@pytest.mark.parametrize("subject", ["digits", "table", "signal"])
def test_the_figure_is_the_mean_rank_correlation_over_the_steps(
    subject, recorder, finding, request
):
    """With the sign, of sums over channels, against SciPy; the null: the nearest other target."""
    asked = recorder(gradient)
    found, bench = finding(CHECK, asked, request.getfixturevalue(subject))
    flat = [maps.double().sum(1).flatten(1) if maps.ndim > 2 else maps for maps in asked.maps]
    original, steps_of = flat[0], (len(flat) - 1) // 2
    # Two groups of 16 images, one after the other.
    later = [
        torch.cat(pair) for pair in zip(flat[1 : 1 + steps_of], flat[1 + steps_of :], strict=True)
    ]

    def correlations(ones, others):
        return torch.tensor(
            [spearmanr(a, b).statistic for a, b in zip(ones, others, strict=True)]
        ).double()

    steps = torch.stack([correlations(maps, original) for maps in later])
    assert torch.allclose(found.values, steps.mean(0))
    assert torch.allclose(found.facts["head drawn anew"], steps[0])
    assert torch.allclose(found.facts["all drawn anew"], steps[-1])
    targets = bench.targets.tolist()
    partners = [
        next(
            other % 32
            for other in range(place + 1, place + 33)
            if targets[other % 32] != targets[place]
        )
        for place in range(32)
    ]
    null = correlations(original, original[partners])
    assert torch.allclose(found.facts["unrelated maps"], null)
    assert torch.allclose(found.limits, (1 + null.clamp_min(0)) / 2)
    assert found.value_range == (-1.0, 1.0)
    assert (found.values < 0).any()  # the sign is kept


class Turning:
    """A map that is the input, with its sign turned when the head was drawn anew."""

    def __init__(self, head):
        self.head = head.clone()

    def __call__(self, model, inputs, targets):
        same = torch.equal(model.get_submodule("fc2").weight, self.head)
        return inputs if same else -inputs


def test_a_turned_sign_is_a_change(verdict, digits):
    passed = verdict(CHECK, Turning(digits.model.fc2.weight), digits)
    assert passed.outcome == "passed"
    assert passed.figure == pytest.approx(-1)


def test_all_steps_count_alike(finding, digits):
    """Three steps of 1 and the last of -1: a mean of 1/2."""

    def explain(model, inputs, targets):
        trained = torch.equal(model.conv1.weight, digits.model.conv1.weight)
        return inputs if trained else -inputs

    found, _ = finding(CHECK, explain, digits)
    assert torch.allclose(found.values, torch.tensor(0.5).double())
    for name, expected in {"head drawn anew": 1.0, "all drawn anew": -1.0}.items():
        assert torch.allclose(found.facts[name], torch.tensor(expected).double())


def test_structural_similarity_stands_beside_for_images_only(finding, digits, table):
    found, _ = finding(CHECK, lambda model, inputs, targets: inputs, digits)
    assert torch.allclose(found.facts["SSIM"], torch.tensor(1.0).double())
    assert (found.facts["SSIM of unrelated maps"] < 1).all()
    found, _ = finding(CHECK, gradient, table)
    assert "SSIM" not in found.facts
