"""The map changes when layers are re-initialised from the output down."""

import re

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.loops import crossed
from fixtures.right import (
    gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai import explainers

CHECK = "mprt_cascading"


@pytest.mark.parametrize(
    *crossed(
        [gradient, integrated_gradients(steps=8), occlusion, smooth_gradient],
        ["gradient", "ig", "occlusion", "smooth"],
        subjects=["digits", "normed", "table", "signal", "one_logit", "scalar"],
    )
)
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


def test_a_map_that_is_always_constant_fails(verdict, digits):
    failed = verdict(CHECK, explainers.get("control:ConstantMap"), digits)
    assert (failed.outcome, failed.figure, failed.limit) == (
        "failed",
        1,
        pytest.approx(0.55, abs=0.05),
    )
    assert failed.reason.startswith("The map is constant: it highlights nothing")


def test_constant_maps_of_neurons_that_are_off_do_not_fail_the_gradient(verdict, finding):
    """The lower of two ReLUs is off for half of the images, until the cascade reaches it."""
    torch.manual_seed(0)
    model = models.chain(8, 8, 8, 3)
    with torch.no_grad():
        model[0].bias -= 1.5
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).double()
    maps = gradient(model, inputs, model(inputs).argmax(1))
    off = (maps == 0).all(1)
    assert 8 < off.sum() < 64
    subject = xai.Subject(model, inputs)
    found, bench = finding(CHECK, gradient, subject)
    # A mean over the steps would be most of 1: all but the last leave the map as it is.
    assert (found.values[off[bench.images]] == 0).any()
    assert verdict(CHECK, gradient, subject).outcome == "passed"


class Mirrored(nn.Module):
    """Two logits that are each other with the sign turned, of a table."""

    def __init__(self, seed):
        super().__init__()
        self.body = models.chain(8, 1, seed=seed)

    def forward(self, inputs):
        score = self.body(inputs)
        return torch.cat([score, -score], 1)


@pytest.mark.parametrize("seed", range(6))
def test_opposite_maps_of_two_classes_do_not_fail_the_gradient(seed, verdict):
    """They point to the same places, so that maps need not be less similar."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(64, 8, generator=generator).double()
    subject = xai.Subject(Mirrored(seed), inputs)
    passed = verdict(CHECK, gradient, subject, seed=seed)
    assert passed.outcome != "failed"
    assert "absolute rank correlation of unrelated maps 1, " in passed.reason
    assert passed.limit == pytest.approx(1)


@pytest.mark.parametrize("subject", ["digits", "table", "signal"])
def test_the_figure_is_the_mean_rank_correlation_over_the_steps(
    subject, recorder, finding, request
):
    """Its size, of sums over channels, against SciPy; the null: the nearest other target."""
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
            [abs(spearmanr(a, b).statistic) for a, b in zip(ones, others, strict=True)]
        ).double()

    steps = torch.stack([correlations(maps, original) for maps in later])
    assert torch.allclose(found.values, steps.mean(0))
    assert torch.allclose(
        found.facts["absolute rank correlation after re-initialising the head"], steps[0]
    )
    assert torch.allclose(
        found.facts["absolute rank correlation after re-initialising all layers"], steps[-1]
    )
    assert set(found.tensors) == {"input", "map", "map after re-initialising all layers"}
    last = torch.cat([asked.maps[steps_of], asked.maps[2 * steps_of]])
    assert torch.equal(found.tensors["map after re-initialising all layers"], last)
    targets = bench.targets.tolist()
    others = [
        next(
            other % 32
            for other in range(place + 1, place + 33)
            if targets[other % 32] != targets[place]
        )
        for place in range(32)
    ]
    null = correlations(original, original[others])
    assert torch.allclose(found.facts["absolute rank correlation of unrelated maps"], null)
    assert torch.allclose(found.limits, (1 + null) / 2)
    assert (found.value_range, found.limit_range) == ((0.0, 1.0), (0.5, 1.0))
    assert (found.facts["rank correlation with sign"] < 0).any()


class Turning:
    """A map that is the input, sign-flipped if the head was re-initialised."""

    def __init__(self, head):
        self.head = head.clone()

    def __call__(self, model, inputs, targets):
        same = torch.equal(model.get_submodule("fc2").weight, self.head)
        return inputs if same else -inputs


def test_a_map_that_is_turned_over_points_to_the_same_places(verdict, digits):
    failed = verdict(CHECK, Turning(digits.model.fc2.weight), digits)
    assert failed.outcome == "failed"
    assert failed.figure == pytest.approx(1)
    assert "rank correlation with sign -1" in failed.reason


@pytest.mark.parametrize("spec, figure", [("zennit:ZPlus", 0.99), ("zennit:DTD", 0.9)])
def test_positive_rules_fail_though_the_logit_turns_their_maps_over(spec, figure, verdict, digits):
    """Sixt 2020. With the sign, half of the maps are opposite and the mean says nothing."""
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert failed.figure > figure
    signed = float(re.search(r"rank correlation with sign (-?[\d.]+)", failed.reason)[1])
    assert abs(signed) < 0.6


class Narrow(nn.Module):
    """All that it has learned goes through a single number."""

    def __init__(self):
        super().__init__()
        self.body, self.head = models.chain(12, 16, 1), models.chain(1, 8, 8, 8, 8, 8, 3, seed=1)

    def forward(self, inputs):
        return self.head(self.body(inputs))


@pytest.mark.parametrize("check", [CHECK, "random_logit"])
def test_no_map_needs_to_change_more_than_the_gradient(check, verdict):
    """Through a single number, the gradient keeps its places until the lowest layer is drawn."""
    inputs = torch.randn(64, 12, generator=torch.Generator().manual_seed(0)).double()
    judged = verdict(check, gradient, xai.Subject(Narrow(), inputs, torch.arange(64) % 3))
    assert judged.figure > 0.7
    assert judged.limit >= (1 + judged.figure) / 2 - 1e-9
    assert judged.outcome != "failed"
    assert "absolute rank correlation of the model's own gradients " in judged.reason


def test_all_steps_count_alike(finding, digits):
    """Three steps of 1 and the last of less."""
    noise = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def explain(model, inputs, targets):
        trained = torch.equal(model.conv1.weight, digits.model.conv1.weight)
        return inputs if trained else noise.expand_as(inputs)

    found, _ = finding(CHECK, explain, digits)
    first, last = (
        found.facts["absolute rank correlation after re-initialising the head"],
        found.facts["absolute rank correlation after re-initialising all layers"],
    )
    assert torch.allclose(first, torch.tensor(1.0).double())
    assert last.max() < 0.6
    assert torch.allclose(found.values, (3 + last) / 4)


def test_structural_similarity_stands_beside_for_images_only(finding, digits, table):
    found, _ = finding(CHECK, lambda model, inputs, targets: inputs, digits)
    assert torch.allclose(found.facts["SSIM"], torch.tensor(1.0).double())
    assert (found.facts["SSIM of unrelated maps"] < 1).all()
    found, _ = finding(CHECK, gradient, table)
    assert "SSIM" not in found.facts


def test_noise_that_no_seed_reaches_is_caught_by_asking_twice(verdict, digits):
    """It does change with the weights, and with everything else: `deterministic` is who sees it."""
    source = torch.Generator().manual_seed(0)

    def explain(model, inputs, targets):
        return torch.randn(inputs.shape, generator=source)

    assert verdict(CHECK, explain, digits).outcome == "passed"
    for declared in (False, True):
        asked = xai.explainer(stochastic=declared)(explain)
        failed = verdict("deterministic", asked, digits)
        assert failed.outcome == "failed"
        assert failed.fails_run
