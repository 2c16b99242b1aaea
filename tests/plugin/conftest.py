"""Small model repos for pytester, and a check whose outcome is the explainer's name."""

import json
import textwrap

# Imported here because a run of pytester forgets what was imported during it, and torch and its
# friends don't bear to be imported twice.
import captum.attr  # noqa: F401
import foolbox  # noqa: F401
import hypothesis.internal.observability  # noqa: F401
import pytest
import torchvision  # noqa: F401

import pytest_xai.explainers.gallery.demo_entries
import pytest_xai.plugin.benches
import pytest_xai.plugin.fixtures
import pytest_xai.plugin.gate
import pytest_xai.plugin.parametrize
import pytest_xai.reporting.json_report
import pytest_xai.reporting.listing
import pytest_xai.reporting.terminal
import pytest_xai.subjects  # noqa: F401
from pytest_xai import checks
from pytest_xai.registry import CHECKS

MODEL = """
import torch
import pytest_xai as xai
from pytest_xai.errors import NotApplicable

made = []


def load_subject():
    made.append(1)
    generator = torch.Generator().manual_seed(0)
    layers = torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
    model = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    images = torch.rand(40, 1, 4, 4, generator=generator)
    return xai.Subject(model, images, bounds=(0.0, 1.0))


@xai.explainer(name="gradient")
def gradient(model, inputs, targets):
    inputs = inputs.clone().requires_grad_()
    scores = model(inputs).gather(1, targets[:, None])
    return torch.autograd.grad(scores.sum(), inputs)[0]


class Gradient:
    def __call__(self, model, inputs, targets):
        return gradient(model, inputs, targets)


def raises(model, inputs, targets):
    raise RuntimeError("no map for you")
"""

CONFTEST = """
from my_model import gradient, load_subject


def pytest_xai_register(registry):
    registry.subject("net", load_subject)
    registry.explainer("first", gradient)
    registry.explainer("second", gradient)
"""

# Its outcome is the name of the explainer; the explainer "raises" raises.
TOLD = '''
import torch
import pytest_xai as xai
from pytest_xai.errors import NotApplicable


@xai.check(
    family="complexity",
    question="What was told?",
    claim="The outcome is what the name says.",
    source="design",
    scope="universal",
    limit_source="The name.",
)
def told(bench, explainer):
    """The value is the outcome."""
    if explainer.name == "not_applicable":
        raise NotApplicable("told so")
    bench.maps(explainer)
    value = {"fails": 1.0, "undecided": float("nan")}.get(explainer.name, 0.0)
    return xai.Finding(values=torch.full((len(bench),), value), cause="It was told to.")
'''

TOLD_CONFTEST = """
import told
from my_model import gradient, load_subject, raises


def pytest_xai_register(registry):
    registry.subject("net", load_subject)
    for name in ("passes", "fails", "undecided", "not_applicable"):
        registry.explainer(name, gradient)
    registry.explainer("raises", raises)
"""


# Hand-written tests with the fixtures `xai_check` and `xai_bench`.
HANDWRITTEN = """
import pytest
import told
from my_model import gradient, load_subject, raises
from pytest_xai import CheckFailed, Bench, explainer
from pytest_xai.protocol import named


def test_a_pass(xai_check):
    verdict = xai_check(gradient, "shape", load_subject())
    assert (verdict.outcome, verdict.subject) == ("passed", "Sequential")


def test_registered_names(xai_check, xai_bench):
    assert xai_check("passes", "told", "net").outcome == "passed"
    assert xai_bench("net") is xai_bench("net")
    assert xai_bench("net").subject.name == "net"


def test_a_failure(xai_check):
    xai_check("fails", "told", "net")


def test_an_error(xai_check):
    with pytest.raises(CheckFailed, match="no map for you"):
        xai_check(raises, "shape", load_subject())


def test_undecided(xai_check):
    assert xai_check("undecided", "told", "net").outcome == "undecided"


def test_not_applicable(xai_check):
    verdict = xai_check("not_applicable", "told", "net")
    assert (verdict.outcome, verdict.reason) == ("not_applicable", "told so")


def test_a_bench(xai_bench):
    subject = load_subject()
    subject.model.train()
    bench = xai_bench(subject)
    assert isinstance(bench, Bench)
    assert xai_bench(subject) is bench
    assert len(bench) == 40
    assert not subject.model.training
"""


@pytest.fixture(autouse=True)
def _same_table_of_checks():
    checks.all()
    before = dict(CHECKS)
    yield
    CHECKS.clear()
    CHECKS.update(before)


@pytest.fixture
def empty(pytester, monkeypatch):
    """A folder with nothing in it, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return pytester


@pytest.fixture
def repo(empty):
    """Registers the subject "net" and the explainers "first" and "second" in its conftest."""
    empty.makepyfile(my_model=MODEL, conftest=CONFTEST)
    return empty


@pytest.fixture
def told(empty):
    """Registers explainers whose names are the outcomes of the check "told"."""
    empty.makepyfile(my_model=MODEL, told=TOLD, conftest=TOLD_CONFTEST)
    return empty


@pytest.fixture
def handwritten(told):
    """The repo of `told` with hand-written tests in test_it.py."""
    told.makepyfile(test_it=HANDWRITTEN)
    return told


@pytest.fixture
def collected(empty):
    """A function from arguments of pytest to the ids that it collects."""

    def collect(*arguments):
        result = empty.runpytest("--co", "-q", *arguments)
        return [line for line in result.outlines if "::" in line and not line.startswith("ERROR")]

    return collect


@pytest.fixture
def report(empty):
    """A function from arguments of pytest to the JSON report of ``pytest --xai``."""

    def run(*arguments):
        empty.runpytest("--xai", "--xai-json=report.json", *arguments)
        return json.loads((empty.path / "report.json").read_text(encoding="utf-8"))

    return run


@pytest.fixture
def add_to_conftest(empty):
    """A function that appends code to the repo's conftest."""

    def add(code):
        path = empty.path / "conftest.py"
        path.write_text(f"{path.read_text()}\n{textwrap.dedent(code)}")

    return add


@pytest.fixture
def comparable():
    """A function that takes out of a report what may differ between runs of the same thing."""

    def strip(payload):
        for part in (*payload["results"], payload["summary"]):
            del part["seconds"], part["evaluations"]
        # Who makes a shared map first pays for it, in each process.
        payload["run"].pop("spent", None)
        payload["run"].pop("left", None)
        return payload

    return strip
