"""The map changes when layers are re-initialised from the input up."""

import pytest
import torch

from fixtures.right import gradient, occlusion, smooth_gradient
from pytest_xai import explainers

CHECK = "mprt_bottom_up"


@pytest.mark.parametrize(
    "explainer", [gradient, occlusion, smooth_gradient], ids=["gradient", "occlusion", "smooth"]
)
@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "one_logit"])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.figure < passed.limit


@pytest.mark.parametrize("spec", ["control:EdgeDetector", "control:InputItself"])
def test_what_does_not_look_at_the_model_fails(spec, verdict, digits):
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert failed.outcome == "failed"
    assert failed.figure == pytest.approx(1, abs=1e-12)


def test_the_figure_is_the_mean_over_the_steps(finding, digits, by_hand):
    correlations, reinitialised, halves = by_hand
    found, bench = finding(CHECK, gradient, digits)
    names = ["conv1", "conv2", "fc1", "fc2"]
    steps = [
        torch.cat(
            [
                correlations(
                    gradient(digits.model, group.inputs, group.targets),
                    gradient(reinitialised(group, names[:count]), group.inputs, group.targets),
                )
                for group in halves(bench)
            ]
        )
        for count in range(1, 5)
    ]
    assert torch.allclose(found.values, torch.stack(steps).mean(0))
    assert torch.allclose(
        found.facts["absolute rank correlation after re-initialising the first layer"], steps[0]
    )
    assert torch.allclose(
        found.facts["absolute rank correlation after re-initialising all layers"], steps[-1]
    )
