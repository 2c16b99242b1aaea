"""The checks without and with an adversary say on a GPU what they say on the CPU."""

import copy

import pytest

import pytest_xai as xai
from fixtures.right import input_x_gradient
from fixtures.wrong.robustness import amplified
from pytest_xai import checks
from pytest_xai.engine.run_check import run_check
from pytest_xai.protocol import named

ROBUSTNESS = tuple(check.name for check in checks.all() if check.family == "robustness")
ADVERSARIAL = ("fgsm_dice", "pgd_dice", "deepfool_dice")
EXPLAINERS = {
    "product": input_x_gradient,
    "amplified": amplified(gain=400),
}


def moved(subject, device):
    """A copy of the subject whose model and inputs are on the device."""
    model = copy.deepcopy(subject.model).to(device)
    inputs, targets = subject.inputs.to(device), subject.targets.to(device)
    return xai.Subject(model, inputs, targets, bounds=subject.bounds, name=subject.name)


@pytest.fixture
def outcomes(task_of):
    """Outcome and figure of each check, on one bench."""

    def run(names, explainer, subject):
        bench = xai.Bench(subject)
        try:
            judged = {name: run_check(bench, task_of(name, named(explainer))) for name in names}
        finally:
            bench.close()
        assert all(verdict.outcome != "error" for verdict in judged.values())
        return {name: (verdict.outcome, verdict.figure) for name, verdict in judged.items()}

    return run


def agree(ours, theirs):
    """The same verdicts, and shares of images that differ by what falls on another side."""
    assert {name: outcome for name, (outcome, _) in ours.items()} == {
        name: outcome for name, (outcome, _) in theirs.items()
    }
    for name, (_, figure) in ours.items():
        assert theirs[name][1] == pytest.approx(figure, abs=0.07)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu, id="a GPU")])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_robustness_is_the_same_in_float32_there_as_in_float64_here(name, device, outcomes, digits):
    agree(
        outcomes(ROBUSTNESS, EXPLAINERS[name], digits.double()),
        outcomes(ROBUSTNESS, EXPLAINERS[name], moved(digits, device)),
    )


@pytest.mark.gpu
@pytest.mark.parametrize("name", EXPLAINERS)
def test_adversarial_verdicts_are_those_of_the_cpu(name, outcomes, digits):
    agree(
        outcomes(ADVERSARIAL, EXPLAINERS[name], digits),
        outcomes(ADVERSARIAL, EXPLAINERS[name], moved(digits, "cuda")),
    )
