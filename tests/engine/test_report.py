"""The verdicts of one call: a sequence, what fails the run, the JSON report."""

import json
from importlib import metadata

import pytest

from fixtures.made_checks import BAD, GOOD, STEADY, subject_of
from fixtures.right import gradient
from pytest_xai.core.run import Run
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine import selection
from pytest_xai.engine.check_explainer import check_explainer
from pytest_xai.engine.report import Report


def test_a_run_has_the_defaults_of_the_public_contract():
    assert Run() == Run(seed=0, alpha=0.001, budget=None, device=None, undecided="warn")


def verdict_of(name, outcome="passed", **fields):
    given = {"subject": "s", "explainer": "e", "family": "contract", "asserted": True}
    return Verdict(check=name, outcome=outcome, direction="<=", **{**given, **fields})


VERDICTS = [
    verdict_of("a"),
    verdict_of("b", "failed", cause="It jumps."),
    verdict_of("c", "failed", asserted=False),
    verdict_of("d", "xpassed"),
    verdict_of("e", "undecided", summary="No image could be judged."),
    verdict_of("f", "error"),
]


def test_a_report_is_a_sequence_of_verdicts():
    report = Report(iter(VERDICTS), Run())
    assert list(report) == VERDICTS
    assert list(report) == VERDICTS
    assert len(report) == 6
    assert (report[1], report[-1]) == (VERDICTS[1], VERDICTS[-1])
    assert list(report[1:3]) == VERDICTS[1:3]
    assert list(reversed(report)) == VERDICTS[::-1]
    assert VERDICTS[2] in report
    assert report.index(VERDICTS[3]) == 3
    with pytest.raises(IndexError):
        report[6]


def test_a_report_knows_what_fails_the_run():
    assert [v.check for v in Report(VERDICTS, Run()).failed] == ["b", "d", "f"]


def test_a_report_reads_as_one_line_per_verdict():
    assert str(Report(VERDICTS, Run())).splitlines() == [
        "e::a: passed",
        "e::b: failed It jumps.",
        "e::c: failed",
        "e::d: xpassed",
        "e::e: undecided No image could be judged.",
        "e::f: error",
    ]


def test_the_json_report_has_the_shape_of_the_design(monkeypatch):
    monkeypatch.setattr(selection.catalogue, "all", lambda: [GOOD, BAD, STEADY])
    report = check_explainer(
        gradient, subject_of(), on_fail="ignore", alpha=0.01, budget=400, seed=7
    )
    payload = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert list(payload) == ["schema_version", "environment", "run", "results", "summary"]
    assert payload["schema_version"] == 1
    expected = {"seed": 7, "alpha": 0.01, "budget": 400, "undecided": "warn", "demo": False}
    assert expected.items() <= payload["run"].items()
    assert {"python", "platform", "versions"} <= payload["environment"].keys()
    assert payload["environment"]["versions"]["torch"] == metadata.version("torch")
    assert payload["results"] == [verdict.row() for verdict in report]
    assert payload["summary"]["verdicts"] == 3
    assert payload["summary"]["failing"] == len(report.failed)
    kinds = {
        "subject": str,
        "explainer": str,
        "check": str,
        "family": str,
        "asserted": bool,
        "outcome": str,
        "claim": str,
        "figure": (float, type(None)),
        "figure_name": str,
        "unit": str,
        "limit": (float, type(None)),
        "limit_source": str,
        "direction": str,
        "interval": (list, type(None)),
        "images": int,
        "evaluations": dict,
        "seconds": float,
        "seed": int,
        "reason": str,
        "summary": str,
        "cause": str,
        "notes": list,
        "counterexample": (dict, type(None)),
        "reproduce": str,
        "traceback": (str, type(None)),
    }
    for row in payload["results"]:
        assert row.keys() == kinds.keys()
        assert all(isinstance(row[key], kind) for key, kind in kinds.items())
