"""The report of one call of `check_explainer`: its verdicts, and the description of the run."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from pytest_xai.core.run import Run
from pytest_xai.core.verdict import Verdict

__all__ = ["Report"]


class Report(Sequence[Verdict]):
    """The verdicts of one run, in the order of the plan.

    Args:
        verdicts: in the order of the plan.
        run: what holds for all of them.
    """

    def __init__(self, verdicts: Iterable[Verdict], run: Run) -> None:
        self._verdicts = list(verdicts)
        self.run = run

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Verdict]: ...
    def __getitem__(self, index: int | slice) -> Verdict | Sequence[Verdict]:
        return self._verdicts[index]

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)

    @property
    def failed(self) -> list[Verdict]:
        """The verdicts that fail the run."""
        return [verdict for verdict in self if verdict.fails_run]

    def to_json(self) -> str:
        """Return the JSON report, schema_version 1."""
        from pytest_xai.reporting.json_report import report

        return report(self._verdicts, self.run)

    def __str__(self) -> str:
        return "\n".join(f"{v.explainer}::{v.check}: {v.outcome} {v.reason}".rstrip() for v in self)
