"""The JSON report and its schema."""

import json
from pathlib import Path

import jsonschema
import pytest
import torch

import pytest_xai.reporting
from pytest_xai.core.run import Run
from pytest_xai.core.verdict import OUTCOMES, Evaluations, Verdict
from pytest_xai.reporting.json_report import report

SCHEMA = json.loads(
    (Path(pytest_xai.reporting.__file__).parent / "schema.json").read_text(encoding="utf-8")
)


def report_of(verdicts, **run):
    return json.loads(report(verdicts, Run(**run)), parse_constant=pytest.fail)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_report_of_every_outcome_is_valid(verdict, failure):
    verdicts = [verdict(outcome=outcome) for outcome in OUTCOMES]
    jsonschema.validate(report_of([*verdicts, failure]), SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "maybe"},
        {"family": "other"},
        {"direction": "<"},
        {"outcome": "failed", "reason": ""},
        {"figure": "high"},
        {"figure_name": None},
        {"interval": [1.0]},
        {"images": -1},
        {"notes": "Noted."},
        {"evaluations": {"forward": 1.5, "backward": 0, "explainer_calls": 0}},
        {"counterexample": {}},
    ],
)
def test_the_schema_refuses_other_rows(verdict, change):
    content = report_of([verdict()])
    jsonschema.validate(content, SCHEMA)
    content["results"][0] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA)


def test_numbers_that_are_not_finite_are_null():
    verdict = Verdict(
        subject="s",
        explainer="e",
        check="shape",
        family="contract",
        asserted=True,
        outcome="error",
        direction="<=",
        figure=float("nan"),
        limit=float("inf"),
        interval=(0.0, float("-inf")),
        evaluations=Evaluations(forward=3),
        summary="It raised.",
        traceback="Traceback ...",
        tensors={"map": torch.zeros(1)},
    )
    content = report_of([verdict])
    assert content["results"] == [verdict.row()]
    jsonschema.validate(content, SCHEMA)
    (result,) = content["results"]
    assert (result["figure"], result["limit"], result["interval"]) == (None, None, [0.0, None])
    assert result["reason"] == "It raised.\nTraceback ..."


def test_the_fields_of_a_row_are_those_of_the_schema(verdict):
    assert set(verdict().row()) == set(SCHEMA["$defs"]["row"]["required"])


def test_the_summary_counts(verdict):
    verdicts = [
        verdict(),
        verdict(outcome="failed"),
        verdict(outcome="failed", asserted=False),
        verdict(outcome="error"),
        verdict(outcome="xpassed"),
        verdict(outcome="undecided", interval=(0.2, 0.9)),
        verdict(interval=(0.6, 0.9)),
        verdict(interval=(0.6, 0.9), asserted=False),
    ]
    assert report_of(verdicts)["summary"] == {
        "verdicts": 8,
        "asserted": 6,
        "failing": 3,
        "sampled": {"verdicts": 2, "any_wrong_at_most": 0.001},
        "outcomes": {
            "passed": 3,
            "failed": 2,
            "undecided": 1,
            "not_applicable": 0,
            "error": 1,
            "xfailed": 0,
            "xpassed": 1,
        },
        "evaluations": {"forward": 80, "backward": 40, "explainer_calls": 16},
        "seconds": 2.0,
    }


def test_the_run_is_described_with_what_was_spent(verdict):
    run = Run(seed=3, budget=100, spent=60, shares={"xai::a": 40}, planned=2, gallery=True)
    content = json.loads(report([verdict()], run))["run"]
    assert (content["seed"], content["spent"], content["left"]) == (3, 60, 40)
    assert (content["shares"], content["planned"], content["demo"]) == ({"xai::a": 40}, 2, True)
    free = report_of([verdict()])["run"]
    assert (free["budget"], free["left"], free["shares"]) == (None, None, None)


def test_the_environment_names_what_is_installed():
    environment = report_of([])["environment"]
    assert environment["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert set(environment["versions"]) >= {"pytest-xai", "pytest", "numpy", "scipy"}
    assert environment["device"] is None
    assert report_of([], device="cpu")["environment"]["device"] == "cpu"


@pytest.mark.gpu
def test_the_environment_names_the_gpu():
    device = report_of([], device="cuda:0")["environment"]["device"]
    assert device == f"cuda:0 ({torch.cuda.get_device_name(0)})"
