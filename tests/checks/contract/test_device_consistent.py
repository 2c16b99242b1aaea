"""On the GPU and on the CPU the maps are the same; here the CPU stands in for the GPU."""

import pytest
import torch

import pytest_xai as xai
from fixtures.controls import WRONG
from fixtures.right import gradient, integrated_gradients, occlusion, smooth_gradient
from tests.checks.conftest import OTHER_DEVICE

CHECK = "device_consistent"


@pytest.mark.parametrize("subject", ["digits", "normed", "table"])
@pytest.mark.parametrize("explainer", [gradient, integrated_gradients("gauss", 8), occlusion])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.images, passed.figure) == ("passed", 4, 0)


@pytest.fixture
def tf32():
    """Switched on, as some do for speed."""
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, True
    yield
    matmul.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
def test_maps_of_a_copy_are_compared_with_tf32_off(finding, table):
    seen = []

    def explain(model, inputs, targets):
        backends = torch.backends.cuda.matmul, torch.backends.cudnn
        seen.append((model, *(backend.allow_tf32 for backend in backends)))
        return gradient(model, inputs, targets) * (1 if model is table.model else 1.25)

    before = torch.backends.cudnn.allow_tf32
    found, _ = finding(CHECK, explain, table)
    assert [(model is table.model, *flags) for model, *flags in seen[:2]] == [
        (True, False, False),
        (False, False, False),
    ]
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (
        True,
        before,
    )
    assert found.values == pytest.approx(torch.full((32,), 0.2).double())
    assert (found.facts["change of the outputs"] == 0).all()


def test_half_precision_elsewhere_fails(verdict, table):
    explain = WRONG["rounds where the model was moved to"].explainer
    failed = verdict(CHECK, explain, table)
    assert failed.outcome == "failed"
    assert 1e-5 < failed.figure <= 2**-11


def test_without_another_device_it_does_not_apply(verdict, table, monkeypatch):
    other = "pytest_xai.checks.contract.device_consistent._other_device"
    monkeypatch.setattr(other, lambda _: None)
    judged = verdict(CHECK, gradient, table)
    assert (judged.outcome, judged.reason) == (
        "not_applicable",
        "needs a GPU that torch can use",
    )


def test_what_does_not_run_elsewhere_does_not_apply(verdict, monkeypatch):
    class Bound(torch.nn.Linear):
        def forward(self, inputs):
            if self is not home:
                raise RuntimeError("no kernel")
            return super().forward(inputs)

    home = Bound(4, 3)
    judged = verdict(CHECK, gradient, xai.Subject(home, torch.rand(4, 4)))
    assert (judged.outcome, judged.reason) == ("not_applicable", "the model does not run on cpu")


def test_noise_is_another_one_elsewhere(verdict, digits):
    assert (
        "draws different random numbers on another device"
        in verdict(CHECK, smooth_gradient, digits).reason
    )


CONFTEST = """
from pytest_xai.subjects import load_digits


def pytest_xai_register(registry):
    registry.subject("digits", lambda: load_digits(2))
    registry.explainer("constant", "control:ConstantMap")
"""


def test_the_gate_skips_it_where_there_is_no_gpu(pytester, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pytester.makeconftest(CONFTEST)
    result = pytester.runpytest_inprocess("--xai", f"--xai-select={CHECK}", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs a GPU that torch can use*"])


@pytest.mark.gpu
@pytest.mark.parametrize("subject", ["digits", "normed", "table"])
@pytest.mark.parametrize("explainer", [gradient, integrated_gradients("gauss", 8), occlusion])
def test_on_a_gpu(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.figure > 0


@pytest.mark.parametrize("gpu", [False, True])
def test_the_other_device_of_a_gpu_is_the_cpu_and_the_other_way_round(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert OTHER_DEVICE(torch.device("cuda", 1)) == torch.device("cpu")
    assert OTHER_DEVICE(torch.device("cpu")) == (torch.device("cuda") if gpu else None)


def test_what_the_outputs_change_is_shown(finding):
    class Moved(torch.nn.Linear):
        """Outputs of -4 and 2 at home, of -5 and 2 elsewhere."""

        def forward(self, inputs):
            first = -4.0 if self is home else -5.0
            return super().forward(inputs) * 0 + torch.tensor([first, 2.0])

    home = Moved(4, 2)
    found, _ = finding(CHECK, gradient, xai.Subject(home, torch.rand(4, 4)))
    assert found.facts["change of the outputs"].tolist() == [0.25] * 4
