"""Tests that people write: the fixtures, the marker, and checks as parameters."""

import pytest


@pytest.mark.parametrize("arguments", [[], ["--xai", "--deselect=xai::"]])
def test_the_fixtures_work_with_and_without_the_gate(handwritten, arguments):
    handwritten.runpytest(*arguments).assert_outcomes(passed=6, failed=1)


def test_a_failed_check_names_everything(handwritten):
    handwritten.runpytest("-k", "test_a_failure").stdout.fnmatch_lines(
        [
            '>       xai_check("fails", "told", "net")',
            "E       *CheckFailed: fails::told: 1, must be at most 0 (32 images)",
            "E       Expected: The outcome is what the name says.",
            "E       Limit: at most 0. The name.",
            "E       Worst: image #*: 1 (its limit 0)",
            "E       Repeat: pytest test_it.py::test_a_failure --xai-seed 0",
        ]
    )


def test_the_settings_of_the_run_hold(handwritten):
    handwritten.makepyfile(
        test_it="""
        import pytest
        from my_model import gradient, load_subject

        def test_seed(xai_check, xai_bench):
            assert xai_bench("net").seed == 7
            assert xai_bench(load_subject()).seed == 7
            verdict = xai_check(gradient, "shape", load_subject())
            assert verdict.seed == 7
            assert verdict.reproduce == "pytest test_it.py::test_seed --xai-seed 7"

        def test_policy(xai_check):
            xai_check("undecided", "told", "net")
        """
    )
    result = handwritten.runpytest("--xai-seed=7", "--xai-undecided=fail")
    result.assert_outcomes(passed=1, failed=1)


def test_unknown_names_are_refused(handwritten):
    handwritten.makepyfile(
        test_it="""
        import pytest
        from my_model import gradient, load_subject
        from pytest_xai.errors import UnknownName

        @pytest.mark.parametrize("arguments, message", [
            (("grad", "shape", "net"), "unknown explainer 'grad'"),
            ((gradient, "shap", "net"), "unknown check 'shap'. Did you mean 'shape'"),
            ((gradient, "shape", "nets"), "unknown subject 'nets'. Did you mean 'net'"),
        ])
        def test_names(xai_check, arguments, message):
            with pytest.raises(UnknownName, match=message):
                xai_check(*arguments)
        """
    )
    handwritten.runpytest().assert_outcomes(passed=3)


def test_tests_marked_xai_are_skipped_without_the_gate(handwritten):
    handwritten.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.xai
        def test_marked(): pass

        def test_ordinary(): pass
        """
    )
    result = handwritten.runpytest("-rs", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * needs --xai"])
    handwritten.runpytest("--xai", "test_it.py", "xai::net::passes::told").assert_outcomes(passed=3)
