"""Items as tests: every outcome, pytest's own options, and what the guests may do."""

import xml.etree.ElementTree as ET

import pytest

SELECT = ("--xai", "--xai-select=told")


def row_of(payload, explainer):
    (row,) = [row for row in payload["results"] if row["explainer"] == explainer]
    return row


def test_every_outcome_is_one_of_pytest(told):
    result = told.runpytest(*SELECT)
    result.assert_outcomes(passed=1, failed=2, skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["xai .FusF*", "*2 failed, 1 passed, 1 skipped, 1 undecided*"])


def test_verbose_words(told):
    told.runpytest(*SELECT, "-v").stdout.fnmatch_lines(
        [
            "xai::net::passes::told PASSED*",
            "xai::net::fails::told FAILED*",
            "xai::net::undecided::told UNDECIDED*",
            "xai::net::not_applicable::told SKIPPED (told so)*",
            "xai::net::raises::told FAILED*",
        ]
    )


def test_a_failure_names_figure_claim_image_cause_and_command(told):
    told.runpytest(*SELECT).stdout.fnmatch_lines(
        [
            "*_ told of fails on net _*",
            "1, must be at most 0 (32 images)",
            "FAIL xai::net::fails::told",
            "  Expected  The outcome is what the name says.",
            "  Figure    1 (32 images)",
            "  Limit     at most 0. The name.",
            "  Worst     image #*: 1 (its limit 0)",
            "  Cause     It was told to.",
            "  Repeat    pytest --xai 'xai::net::fails::told' --xai-seed 0 --xai-select told",
            "FAILED xai::net::fails::told - 1, must be at most 0*",
        ]
    )


def test_an_error_shows_the_traceback_of_the_guest_and_the_run_goes_on(told):
    result = told.runpytest(*SELECT, "-k", "raises or passes")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "error: explainer 'raises' raised RuntimeError: no map for you",
            "Traceback (most recent call last):",
            '    raise RuntimeError("no map for you")',
            "Repeat: pytest --xai 'xai::net::raises::told'*",
        ]
    )


def test_stop_after_the_first_failure(told, report):
    payload = report("--xai-select=told", "-x")
    assert [row["outcome"] for row in payload["results"]] == ["passed", "failed"]
    assert (payload["run"]["planned"], payload["run"]["selected"]) == (5, 5)


def test_maxfail(told):
    told.runpytest(*SELECT, "--maxfail=2").assert_outcomes(passed=1, failed=2, skipped=1)


def test_last_failed_first_and_stepwise(told):
    told.makepyfile(test_it="def test_ordinary(): pass")
    told.runpytest(*SELECT)
    told.runpytest(*SELECT, "--lf").assert_outcomes(failed=2)
    told.runpytest(*SELECT, "--ff").stdout.fnmatch_lines(
        ["xai FF *", "test_it.py . *", "xai .us *"]
    )
    told.runpytest(*SELECT, "--sw").assert_outcomes(passed=2, failed=1)
    told.runpytest(*SELECT, "--sw").assert_outcomes(failed=1, deselected=2)


def test_junit(told):
    told.runpytest(*SELECT, "--junitxml=junit.xml", "-o", "junit_family=xunit2")
    suite = ET.parse(told.path / "junit.xml").getroot()[0]  # noqa: S314  # our own file
    cases = {case.get("classname"): case for case in suite}
    assert {case.get("name") for case in suite} == {"told"}
    assert [suite.get(key) for key in ("tests", "failures", "skipped", "errors")] == [*"5210"]
    failed = cases["xai.net.fails"]
    assert "Worst: image #" in failed.find("failure").text
    (row,) = failed.find("properties")
    assert row.get("name") == "xai"
    assert '"outcome": "failed"' in row.get("value")


def test_without_the_terminal_plugin(told, report):
    payload = report("--xai-select=told", "-p", "no:terminal")
    assert payload["summary"]["verdicts"] == 5


def test_markers_of_items(told):
    told.makepyfile(
        told=(told.path / "told.py").read_text().replace("limit_s", 'marks=("slow",), limit_s')
    )
    told.makeini("[pytest]\naddopts = --strict-markers")
    for expression, count in (("slow", 5), ("complexity and xai", 5), ("not slow", 0)):
        result = told.runpytest(*SELECT, "--co", "-q", "-m", expression)
        assert sum("::told" in line for line in result.outlines) == count


def test_warnings_as_errors_do_not_fail_our_own_code(told):
    told.runpytest("-Werror", *SELECT, "-k", "passes").assert_outcomes(passed=1)


def test_a_bug_in_a_check_shows_a_traceback_and_has_a_row(told, report):
    told.makepyfile(
        told=(told.path / "told.py").read_text().replace("bench.maps(explainer)", "1 / 0")
    )
    payload = report("xai::net::passes::told")
    (row,) = payload["results"]
    assert row["outcome"] == "error"
    assert "ZeroDivisionError" in row["reason"]
