"""The JSON report, from rows and from verdicts."""

import json
import stat
from pathlib import Path

import jsonschema
import pytest
import torch

import pytest_xai.reporting
from pytest_xai.core.verdict import OUTCOMES as VERDICT_OUTCOMES
from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.reporting import OUTCOMES, Row, finite
from pytest_xai.reporting.json_report import report_json, write_json

SCHEMA = json.loads(
    (Path(pytest_xai.reporting.__file__).parent / "schema.json").read_text(encoding="utf-8")
)
RUN = {"seed": 0, "alpha": 0.001, "budget": None}


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_report_of_every_outcome_is_valid(row, failure):
    rows = [row(outcome=outcome) for outcome in OUTCOMES]
    jsonschema.validate(report_json([*rows, failure], run=RUN), SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "maybe"},
        {"family": "other"},
        {"direction": "<"},
        {"outcome": "failed", "reason": ""},
        {"figure": "high"},
        {"interval": [1.0]},
        {"images": -1},
        {"evaluations": {"forward": 1.5, "backward": 0, "explainer_calls": 0}},
        {"counterexample": {}},
    ],
)
def test_the_schema_refuses_other_rows(row, change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report_json([row() | change], run=RUN), SCHEMA)


def test_verdicts_and_their_rows_give_the_same():
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
        reason="It raised.",
        traceback="Traceback ...",
        tensors={"map": torch.zeros(1)},
    )
    report = report_json([verdict], run=RUN)
    assert report == report_json([verdict.row()], run=RUN)
    jsonschema.validate(report, SCHEMA)
    (result,) = report["results"]
    assert (result["figure"], result["limit"], result["interval"]) == (None, None, [0.0, None])
    assert result["reason"] == "It raised.\nTraceback ..."


def test_the_fields_of_a_row_are_those_of_a_verdict():
    verdict = Verdict(
        subject="s",
        explainer="e",
        check="c",
        family="contract",
        asserted=True,
        outcome="passed",
        direction="<=",
    )
    assert list(verdict.row()) == list(Row.__annotations__) == SCHEMA["$defs"]["row"]["required"]
    assert OUTCOMES == VERDICT_OUTCOMES


def test_the_summary_counts(row):
    rows = [
        row(),
        row(outcome="failed"),
        row(outcome="failed", asserted=False),
        row(outcome="error"),
        row(outcome="xpassed"),
        row(outcome="undecided", interval=[0.2, 0.9]),
        row(interval=[0.6, 0.9]),
        row(interval=[0.6, 0.9], asserted=False),
    ]
    assert report_json(rows, run=RUN)["summary"] == {
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


def test_the_environment_names_what_is_installed(row):
    environment = report_json([], run=RUN)["environment"]
    assert environment["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert set(environment["versions"]) >= {"pytest-xai", "pytest", "numpy", "scipy"}
    assert environment["device"] is None
    assert report_json([], run=RUN | {"device": "cpu"})["environment"]["device"] == "cpu"


@pytest.mark.gpu
def test_the_environment_names_the_gpu():
    device = report_json([], run=RUN | {"device": "cuda:0"})["environment"]["device"]
    assert device == f"cuda:0 ({torch.cuda.get_device_name(0)})"


def test_what_is_not_finite_becomes_null_at_any_depth():
    inf, nan = float("inf"), float("nan")
    value = {"a": [1.0, nan, (inf, -inf)], "b": {"c": nan}, 3: "nan", "d": True, "e": 10**400}
    assert finite(value) == {
        "a": [1.0, None, [None, None]],
        "b": {"c": None},
        "3": "nan",
        "d": True,
        "e": 10**400,
    }


def test_a_report_is_written_whole_with_the_rights_of_any_file(tmp_path):
    path = tmp_path / "new" / "report.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2, "b": "ä"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 2, "b": "ä"}
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]
    (tmp_path / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.parametrize("payload", [{"a": float("nan")}, {"a": object()}])
def test_what_json_cannot_say_leaves_the_old_report(tmp_path, payload):
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    with pytest.raises((TypeError, ValueError)):
        write_json(path, payload)
    assert json.loads(path.read_text()) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1
