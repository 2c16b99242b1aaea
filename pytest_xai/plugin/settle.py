"""Ends a test as its verdict says: return, skip, xfail, or raise."""

import pytest

from pytest_xai.core.verdict import Verdict
from pytest_xai.errors import CheckFailed

__all__ = ["settle"]


def settle(verdict: Verdict, *, undecided: str = "warn") -> None:
    """End a test as its verdict says: return, skip, xfail, or raise.

    Args:
        verdict: of the test's check.
        undecided: what an undecided verdict does: "fail", "warn" or "pass".

    Raises:
        CheckFailed: the verdict fails the run.
    """
    from pytest_xai.reporting.terminal import failure_text

    __tracebackhide__ = True

    if verdict.outcome == "not_applicable":
        pytest.skip(verdict.reason)
    if verdict.outcome == "error" and not verdict.asserted:
        pytest.skip(f"measured, not asserted: {verdict.reason}")
    if verdict.outcome == "xfailed":
        pytest.xfail(verdict.reason)
    fails = verdict.asserted and verdict.outcome == "undecided" and undecided == "fail"
    if verdict.fails_run or fails:
        raise CheckFailed(failure_text(verdict))
