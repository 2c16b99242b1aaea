"""``--xai-json``: valid, whole, in the plan's order, and the same whatever the order of the run."""

import json
from pathlib import Path

import jsonschema
import pytest

import pytest_xai.reporting

SCHEMA = json.loads(
    (Path(pytest_xai.reporting.__file__).parent / "schema.json").read_text(encoding="utf-8")
)


def test_the_report_is_valid_and_says_what_was_run(told, report):
    payload = report("--xai-select=told", "--xai-seed=5", "-k", "passes or fails")
    jsonschema.validate(payload, SCHEMA)
    assert payload["run"] == {
        "seed": 5,
        "alpha": 0.001,
        "budget": None,
        "spent": 144,
        "left": None,
        "shares": None,
        "undecided": "warn",
        "device": None,
        "demo": False,
        "gallery": False,
        "select": ["told"],
        "ignore": [],
        "planned": 5,
        "selected": 2,
    }
    assert [(row["explainer"], row["seed"]) for row in payload["results"]] == [
        ("passes", 5),
        ("fails", 5),
    ]
    assert payload["summary"]["outcomes"]["failed"] == payload["summary"]["failing"] == 1


def test_the_same_run_twice_and_in_reverse_order(repo, report, comparable, add_to_conftest):
    select = "--xai-select=shape,deterministic,mprt_cascading,fgsm_dice,continuity"
    once, twice = report(select), report(select)
    add_to_conftest("""
        def pytest_collection_modifyitems(items):
            items.reverse()
    """)
    backwards = report(select)
    assert comparable(once) == comparable(twice) == comparable(backwards)
    assert len(once["results"]) == 10


def test_a_verdict_does_not_depend_on_its_neighbours(repo, report, comparable):
    everything = comparable(report("--xai-select=adversarial,shape"))["results"]
    for given in ("xai::net::second::fgsm_dice", "xai::net::first::shape"):
        alone = comparable(report("--xai-select=adversarial,shape", given))["results"]
        assert alone[0] in everything


def test_the_command_of_a_verdict_repeats_it(told, report, comparable):
    payload = report("--xai-select=told", "--xai-seed=9")
    row = payload["results"][1]
    import shlex

    _, *words = shlex.split(row["reproduce"])
    again = comparable(report(*words[1:]))["results"]
    assert again == [comparable(payload)["results"][1]]


def test_folders_are_made_and_nothing_else_is_left(told):
    told.runpytest("--xai", "xai::net::passes", "--xai-json=deep/down/report.json")
    assert [path.name for path in (told.path / "deep" / "down").iterdir()] == ["report.json"]


@pytest.mark.parametrize("argument", ["--co", "xai::nothing", "test_it.py::test_ordinary"])
def test_a_run_without_verdicts_leaves_an_earlier_report_alone(told, argument):
    told.makepyfile(test_it="def test_ordinary(): pass")
    (told.path / "report.json").write_text("old")
    told.runpytest("--xai", argument, "--xai-json=report.json")
    assert (told.path / "report.json").read_text() == "old"


def test_a_report_that_cannot_be_written_fails_the_run(told):
    (told.path / "report.json").mkdir()
    result = told.runpytest("--xai", "xai::net::passes", "--xai-json=report.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stderr.fnmatch_lines(["*--xai-json: *report.json cannot be written: *"])
    assert [path.name for path in told.path.glob(".report*")] == []


CSV = """
from pytest_xai.reporting import REPORTERS, Reporter


def report(verdicts, run):
    fields = ("subject", "explainer", "check", "outcome", "figure", "limit")
    rows = [[str(getattr(verdict, field)) for field in fields] for verdict in verdicts]
    return "\\n".join(",".join(row) for row in [fields, *rows]) + f"\\nseed {run.seed}\\n"


REPORTERS["csv"] = Reporter("csv_reporter:report", "write one line per verdict to this file")
"""


def test_a_reporter_is_one_file_and_one_line_of_registration(told):
    """It has an option of its own, and the hooks need no edit."""
    told.makepyfile(csv_reporter=CSV)
    # `-p` loads it before the plugin of pytest-xai reads the table of reporters.
    select = ("-p", "csv_reporter", "--xai", "--xai-select=told")
    told.runpytest_subprocess(*select, "--xai-csv=out/all.csv")
    lines = (told.path / "out" / "all.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == [
        "subject,explainer,check,outcome,figure,limit",
        "net,passes,told,passed,0.0,0.0",
        "net,fails,told,failed,1.0,0.0",
    ]
    assert (len(lines), lines[-1]) == (7, "seed 0")


@pytest.mark.slow
def test_a_reporter_has_a_key_of_the_table(told):
    told.makepyfile(csv_reporter=CSV)
    told.makepyprojecttoml("[tool.pytest_xai]\ncsv = 'table.csv'")
    told.runpytest_subprocess("-p", "csv_reporter", "--xai", "--xai-select=told")
    assert "net,fails,told,failed,1.0,0.0" in (told.path / "table.csv").read_text(encoding="utf-8")


def test_a_run_with_nothing_registered_has_an_empty_report(empty, report):
    payload = report()
    jsonschema.validate(payload, SCHEMA)
    assert payload["results"] == []


def test_the_header_shows_the_settings(empty):
    result = empty.runpytest("--xai", "--xai-seed=3", "--xai-budget=12000", "--xai-device=cpu")
    result.stdout.fnmatch_lines(
        ["xai: seed 3, alpha 0.001, budget 12,000 evaluations, device: cpu, undecided: warn"]
    )
