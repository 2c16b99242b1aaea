"""How a test ends: the policy for undecided verdicts, expected failures, measured checks."""

import pytest

SELECT = ("--xai", "--xai-select=told")


@pytest.mark.parametrize(
    "policy, status, line",
    [
        ("fail", pytest.ExitCode.TESTS_FAILED, "* 1 failed in *"),
        ("warn", pytest.ExitCode.OK, "* 1 undecided in *"),
        ("pass", pytest.ExitCode.OK, "* 1 passed in *"),
    ],
)
def test_the_policy_for_undecided(told, policy, status, line):
    result = told.runpytest("--xai", "xai::net::undecided::told", f"--xai-undecided={policy}")
    assert result.ret == status
    result.stdout.fnmatch_lines([line])


EXPECTING = """
    register = pytest_xai_register

    def pytest_xai_register(registry):
        register(registry)
        registry.expect_failure({!r}, "told", reason="known since 1902")
"""


def test_an_expected_failure_is_an_xfail(told, add_to_conftest):
    add_to_conftest(EXPECTING.format("fails"))
    result = told.runpytest("--xai", "xai::net::fails::told", "-rx")
    result.assert_outcomes(xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["XFAIL xai::net::fails::told - *Expected to fail: known since 1902*"]
    )


def test_an_expected_failure_that_passes_fails_the_run(told, add_to_conftest):
    add_to_conftest(EXPECTING.format("passes"))
    result = told.runpytest("--xai", "xai::net::passes::told")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Expected to fail (known since 1902) but passed: remove the exp*"])


def test_runxfail_takes_expected_failures_for_failures(told, add_to_conftest):
    add_to_conftest(EXPECTING.format("fails"))
    result = told.runpytest("--xai", "xai::net::fails::told", "--runxfail")
    result.assert_outcomes(failed=1)


def test_what_is_only_measured_cannot_fail_the_run(told):
    told.makepyfile(
        told=(told.path / "told.py").read_text().replace('scope="universal"', 'scope="claimed"')
    )
    result = told.runpytest(*SELECT)
    result.assert_outcomes(passed=3, skipped=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["fails * (fail)", "raises * (error)", "In brackets: measured*"])
