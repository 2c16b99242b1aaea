"""The verdicts of one call, and what held for it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from pytest_xai.core.verdict import Verdict

__all__ = ["Report", "Settings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What holds for a whole run.

    Attributes:
        seed: every random number of the run follows from it.
        alpha: probability that any sampled verdict of the run is wrong; shared by all of them.
        budget: model evaluations for the whole run; None: no limit.
        device: where subjects are moved to; None: where they are.
        undecided: what an undecided verdict does to the run: "fail", "warn" or "pass".
    """

    seed: int = 0
    alpha: float = 0.001
    budget: int | None = None
    device: str | None = None
    undecided: str = "warn"


class Report(Sequence[Verdict]):
    """The verdicts of one run, in the order of the plan."""

    def __init__(self, verdicts: Iterable[Verdict], settings: Settings) -> None:
        self._verdicts = list(verdicts)
        self.settings = settings

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
        """The JSON report, schema_version 1."""
        from pytest_xai.reporting.json_report import report_json

        settings = self.settings
        run = {"seed": settings.seed, "alpha": settings.alpha, "budget": settings.budget}
        return json.dumps(report_json(list(self), run=run), indent=2)

    def __str__(self) -> str:
        return "\n".join(f"{v.explainer}::{v.check}: {v.outcome} {v.reason}".rstrip() for v in self)
