"""Renders rows of verdicts, on the terminal and as JSON; imports no torch."""

from typing import Any, Protocol, TypedDict

__all__ = [
    "OUTCOMES",
    "HasRow",
    "Row",
    "as_row",
    "case_id",
    "fails_run",
    "finite",
    "plain",
    "sampled",
]

# As `pytest_xai.core.verdict.OUTCOMES`, which comes with torch; a test compares the two.
OUTCOMES = ("passed", "failed", "undecided", "not_applicable", "error", "xfailed", "xpassed")


class Spent(TypedDict):
    """Model evaluations, one per image, and calls of the explainer."""

    forward: int
    backward: int
    explainer_calls: int


class Row(TypedDict):
    """One verdict, as `pytest_xai.Verdict.row` gives it and the JSON report holds it."""

    subject: str
    explainer: str
    check: str
    family: str
    asserted: bool
    outcome: str
    figure: float | None
    limit: float | None
    direction: str
    interval: list[float | None] | None
    images: int
    evaluations: Spent
    seconds: float
    seed: int
    reason: str
    counterexample: dict[str, Any] | None
    reproduce: str


class HasRow(Protocol):
    """A `pytest_xai.Verdict`, without the torch that it comes with."""

    def row(self) -> dict[str, Any]:
        """The row of the verdict."""


def as_row(verdict: HasRow | Row) -> Row:
    """The row of a verdict; a row as it is."""
    return verdict if isinstance(verdict, dict) else verdict.row()  # type: ignore[return-value]  # a row by contract


def case_id(row: Row) -> str:
    """The id of the case: that of the pytest item which the gate makes of it."""
    return f"xai::{row['subject']}::{row['explainer']}::{row['check']}"


def fails_run(row: Row) -> bool:
    """Whether the run must fail because of it."""
    return row["asserted"] and row["outcome"] in {"failed", "error", "xpassed"}


def sampled(row: Row) -> bool:
    """Whether it is among the verdicts that share the run's alpha: asserted, from a sample."""
    return row["asserted"] and row["interval"] is not None


def finite(value: object) -> object:
    """The value with every number that is not finite replaced by None, at any depth."""
    if isinstance(value, float):
        # Not-a-number differs from itself, infinities from their own difference with themselves.
        return value if value - value == 0.0 else None
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return value


def plain(text: str) -> str:
    """The text with control characters made visible: no guest's message steers a terminal."""
    return "".join(
        char if char == "\n" or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text.replace("\t", "    ")
    )
