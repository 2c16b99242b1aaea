"""Collects the verdicts of a run from the reports of its tests, whichever process ran them."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_xai.core.verdict import Verdict
from pytest_xai.plugin.items import PROPERTY
from pytest_xai.plugin.options import Options, reproduce_command

__all__ = ["PlanSummary", "Results", "verdicts_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanSummary:
    """The part of the plan that reports need; a worker of pytest-xdist sends it to its controller.

    Attributes:
        ids: of all planned tasks, in order.
        shares: the budget of each of them, in the same order; empty means no limit.
        measured: ids of those that are not asserted.
        checks: the fields of a verdict that follow from the check alone, by its name, in the order
            of the registry.
        subjects: number of registered subjects.
        explainers: number of registered explainers.
        selected: number of tasks that pytest did not deselect.
    """

    ids: list[str]
    shares: list[int]
    measured: list[str]
    checks: dict[str, dict[str, Any]]
    subjects: int
    explainers: int
    selected: int = 0


def verdicts_of(report: pytest.TestReport) -> list[Verdict]:
    """Return the verdicts that a test recorded, in order."""
    rows = [json.loads(str(text)) for name, text in report.user_properties if name == PROPERTY]
    return [Verdict.from_row(row) for row in rows]


@dataclass(slots=True)
class Results:
    """The verdicts of a run.

    Attributes:
        verdicts: by node id; a hand-written test may have several.
        without: why an item of the gate ended without a verdict, by node id.
    """

    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    without: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, report: pytest.TestReport) -> None:
        """Take the verdicts of a report; of a repeated test the last run counts."""
        if found := verdicts_of(report):
            self.verdicts[report.nodeid] = found
        elif report.nodeid.startswith("xai::") and not report.passed:
            self.without[report.nodeid] = (report.outcome, _why(report))

    def spent(self, plan: PlanSummary | None) -> int:
        """Return the model evaluations of planned tasks, which the budget of a run limits."""
        return sum(
            verdict.evaluations.model
            for node_id in (plan.ids if plan else ())
            for verdict in self.verdicts.get(node_id, ())
        )

    def in_order(self, plan: PlanSummary | None, options: Options) -> list[Verdict]:
        """Return all verdicts: the plan's in its order, then those of hand-written tests by id.

        Args:
            plan: of the run; None means that it was not made, or that no worker could send it.
            options: of the run.
        """
        everything = dict(self.verdicts)
        for node_id, (outcome, why) in self.without.items():
            if node_id not in everything:
                everything[node_id] = [_without_verdict(node_id, outcome, why, plan, options)]
        ids = plan.ids if plan else ()
        places = {node_id: place for place, node_id in enumerate(ids)}
        ordered = sorted(
            everything, key=lambda node_id: (places.get(node_id, len(places)), node_id)
        )
        return [verdict for node_id in ordered for verdict in everything[node_id]]


def _why(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext.strip() or "no reason given"


def _without_verdict(
    node_id: str, outcome: str, why: str, plan: PlanSummary | None, options: Options
) -> Verdict:
    """Return the verdict of an item that was skipped, or that ended its worker process."""
    _, subject, explainer, check = node_id.split("::")
    return Verdict(
        subject=subject,
        explainer=explainer,
        asserted=plan is None or node_id not in plan.measured,
        outcome="not_applicable" if outcome == "skipped" else "error",
        seed=options.run.seed,
        summary=why,
        reproduce=reproduce_command(node_id, options),
        **(plan.checks[check] if plan else _labels(check)),
    )


def _labels(check: str) -> dict[str, Any]:
    from pytest_xai import checks

    return checks.get(check).labels
