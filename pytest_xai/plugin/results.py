"""What the reports of a run say: rows of verdicts, whichever process they come from."""

import json
from dataclasses import dataclass, field

import pytest

from pytest_xai.plugin.items import PROPERTY
from pytest_xai.plugin.options import Options, reproduce_command
from pytest_xai.reporting import Row

__all__ = ["Facts", "Results", "rows_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What reports need to know of the plan; a worker of pytest-xdist sends it to its controller.

    Attributes:
        ids: of all planned cases, in order.
        shares: model evaluations that each of them may owe, in the same order; empty: no bound.
        measured: ids of those that are not asserted.
        checks: family, direction and claim by name, in the order of the registry.
        subjects: how many are registered.
        explainers: how many are registered.
        selected: cases that pytest left of the plan.
    """

    ids: list[str]
    shares: list[int]
    measured: list[str]
    checks: dict[str, tuple[str, str, str]]
    subjects: int
    explainers: int
    selected: int = 0

    @property
    def claims(self) -> dict[str, str]:
        """The sentence that each check tests, by name."""
        return {name: claim for name, (_, _, claim) in self.checks.items()}


def rows_of(report: pytest.TestReport) -> list[Row]:
    """The rows that a test recorded, in order."""
    return [json.loads(str(text)) for name, text in report.user_properties if name == PROPERTY]


@dataclass(slots=True)
class Results:
    """The rows of a run.

    Attributes:
        rows: by node id; a hand-written test may have several.
        silent: why an item of the gate ended without a verdict, by node id.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    silent: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, report: pytest.TestReport) -> None:
        """Take the rows of a report; of a repeated test the last run counts."""
        if rows := rows_of(report):
            self.rows[report.nodeid] = rows
        elif report.nodeid.startswith("xai::") and not report.passed:
            self.silent[report.nodeid] = (report.outcome, _why(report))

    def spent(self, facts: Facts | None) -> int:
        """Model evaluations of planned cases: what the budget of a run is about."""
        return sum(
            row["evaluations"]["forward"] + row["evaluations"]["backward"]
            for node_id in (facts.ids if facts else ())
            for row in self.rows.get(node_id, ())
        )

    def in_order(self, facts: Facts | None, options: Options) -> list[Row]:
        """All rows: the plan's in its order, then those of hand-written tests by their ids.

        Args:
            facts: of the plan; None: it was not made, or no worker lived to tell.
            options: of the run.
        """
        everything = dict(self.rows)
        for node_id, (outcome, why) in self.silent.items():
            if node_id not in everything:
                everything[node_id] = [_row_without_verdict(node_id, outcome, why, facts, options)]
        plan = facts.ids if facts else ()
        places = {node_id: place for place, node_id in enumerate(plan)}
        ids = sorted(everything, key=lambda node_id: (places.get(node_id, len(places)), node_id))
        return [row for node_id in ids for row in everything[node_id]]


def _why(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext.strip() or "no reason given"


def _row_without_verdict(
    node_id: str, outcome: str, why: str, facts: Facts | None, options: Options
) -> Row:
    """The row of an item that was skipped, or that took its worker process down with it."""
    _, subject, explainer, check = node_id.split("::")
    family, direction, _ = facts.checks[check] if facts else _look_up(check)
    return Row(
        subject=subject,
        explainer=explainer,
        check=check,
        family=family,
        asserted=facts is None or node_id not in facts.measured,
        outcome="not_applicable" if outcome == "skipped" else "error",
        figure=None,
        limit=None,
        direction=direction,
        interval=None,
        images=0,
        evaluations={"forward": 0, "backward": 0, "explainer_calls": 0},
        seconds=0.0,
        seed=options.seed,
        reason=why,
        counterexample=None,
        reproduce=reproduce_command(node_id, options),
    )


def _look_up(check: str) -> tuple[str, str, str]:
    from pytest_xai import checks

    found = checks.get(check)
    return found.family, found.direction, found.claim
