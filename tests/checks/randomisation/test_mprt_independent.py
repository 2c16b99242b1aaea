"""The map changes when a single layer is re-initialised and all others stay trained."""

import pytest
import torch

from fixtures.right import gradient, occlusion, smooth_gradient
from pytest_xai import explainers

CHECK = "mprt_independent"


@pytest.mark.parametrize(
    "explainer", [gradient, occlusion, smooth_gradient], ids=["gradient", "occlusion", "smooth"]
)
@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "one_logit"])
def test_right_explainers_do_not_fail(explainer, subject, verdict, request):
    judged = verdict(CHECK, explainer, request.getfixturevalue(subject))
    # A batch norm alone changes little: where most layers are such, the mean says little.
    assert judged.outcome == "passed" or (subject == "normed" and judged.outcome == "undecided")


@pytest.mark.parametrize(
    "spec", ["control:EdgeDetector", "control:InputItself", "captum:GuidedBackprop"]
)
def test_what_hardly_looks_at_the_model_fails(spec, verdict, digits):
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert failed.reason.startswith("The map shows the input, not the model")


def test_the_figure_is_the_mean_over_the_layers(finding, digits, by_hand):
    correlations, reinitialised, halves = by_hand
    found, bench = finding(CHECK, gradient, digits)
    layers = [
        torch.cat(
            [
                correlations(
                    gradient(digits.model, group.inputs, group.targets),
                    gradient(reinitialised(group, [name]), group.inputs, group.targets),
                )
                for group in halves(bench)
            ]
        )
        for name in ("conv1", "conv2", "fc1", "fc2")
    ]
    assert torch.allclose(found.values, torch.stack(layers).mean(0))
    assert torch.allclose(
        found.facts["absolute rank correlation after re-initialising the head alone"], layers[-1]
    )
    assert torch.allclose(
        found.facts["absolute rank correlation after re-initialising the first layer alone"],
        layers[0],
    )
