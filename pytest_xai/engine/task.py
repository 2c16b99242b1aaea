"""A task: one check to run on one explainer and one subject."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_xai.core.verdict import Verdict
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Check

__all__ = ["Progress", "Task"]

# Called with (images done, images at the most, evaluations spent).
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One check to run on one explainer and one subject, and how it is judged.

    Attributes:
        check: the check to run.
        explainer: the explainer to check, with the name that reports use.
        asserted: whether a failure fails the run.
        subject: the name of the subject; empty until it is known.
        alpha: significance level of a check that is judged from a sample.
        budget: largest number of model evaluations that it may be charged for, including those
            of tensors that it shares with other checks; None means no limit.
        expected: the reason why it is expected to fail; None means that it is not.
        reproduce: a command or call that repeats it.
    """

    check: Check
    explainer: NamedExplainer
    asserted: bool
    subject: str = ""
    alpha: float = 0.001
    budget: int | None = None
    expected: str | None = None
    reproduce: str = ""

    @property
    def id(self) -> str:
        """The node id of the pytest item of this task."""
        return f"xai::{self.subject}::{self.explainer.name}::{self.check.name}"

    def verdict(self, outcome: str, **fields: Any) -> Verdict:
        """Return a verdict on this task.

        Args:
            outcome: one of `pytest_xai.core.verdict.OUTCOMES`.
            fields: further fields of the `Verdict`; ``subject`` may differ from the task's.
        """
        known: dict[str, Any] = {
            "subject": self.subject,
            "explainer": self.explainer.name,
            "asserted": self.asserted,
            "reproduce": self.reproduce,
            **self.check.labels,
        }
        return Verdict(outcome=outcome, **{**known, **fields})
