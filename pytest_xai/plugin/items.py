"""The pytest items of the gate, below collectors for the gate, its subjects and its explainers."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_xai.core.verdict import Verdict
    from pytest_xai.plugin.plan import Case

__all__ = ["PROPERTY", "CheckItem", "Group", "record"]

# The name under which a verdict's row travels in reports: to the controller of pytest-xdist and
# into JUnit files.
PROPERTY = "xai"

Run = Callable[["Case", pytest.Item], "Verdict"]


class Group(pytest.Collector):
    """The gate (``xai``), one of its subjects, or one explainer on it."""

    cases: Sequence["Case"]
    run: Run

    @classmethod
    def of(cls, parent: pytest.Collector, name: str, run: Run) -> "Group":
        """An empty group; `fill` gives it its cases."""
        top = {"nodeid": name} if isinstance(parent, pytest.Session) else {}
        group: Group = cls.from_parent(parent, name=name, **top)
        group.cases, group.run = (), run
        return group

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """One group per subject, in it one per explainer, in it one item per check."""
        depth = self.nodeid.count("::")
        if depth == 2:
            for case in self.cases:
                yield CheckItem.of(self, case)
            return
        names = dict.fromkeys(case.id.split("::")[depth + 1] for case in self.cases)
        for name in names:
            group = Group.of(self, name, self.run)
            group.cases = [case for case in self.cases if case.id.split("::")[depth + 1] == name]
            yield group


class CheckItem(pytest.Item):
    """One check on one explainer and one subject."""

    case: "Case"
    run: Run

    @classmethod
    def of(cls, parent: Group, case: "Case") -> "CheckItem":
        """The item of a case, with its markers."""
        check = case.assignment.check
        item: CheckItem = cls.from_parent(parent, name=check.name)
        item.case, item.run = case, parent.run
        for marker in ("xai", check.family, *check.marks):
            item.add_marker(marker)
        return item

    def setup(self) -> None:
        """Skip what needs a GPU where there is none."""
        import torch

        if "gpu" in self.case.assignment.check.marks and not torch.cuda.is_available():
            pytest.skip("needs a GPU that torch can use")

    def runtest(self) -> None:
        """Run the check, hand its row on, and end as the verdict says."""
        from pytest_xai.plugin.cases import settle
        from pytest_xai.plugin.options import resolve

        verdict = self.run(self.case, self)
        record(self, verdict)
        claim = self.case.assignment.check.claim
        settle(verdict, undecided=resolve(self.config).undecided, claim=claim)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A failed check shows its message, anything else its traceback."""
        from pytest_xai.errors import CheckFailed

        if isinstance(excinfo.value, (CheckFailed, pytest.xfail.Exception)):
            # The heading names both already.
            check, explainer = self.case.assignment.check.name, self.case.explainer.name
            return Brief(str(excinfo.value).removeprefix(f"{explainer}::{check}: "))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """The place of the first part of the id, and a heading for a failure."""
        check, explainer = self.case.assignment.check.name, self.case.explainer.name
        heading = f"{check} of {explainer} on {self.case.subject}"
        return self.config.rootpath / "xai", None, heading


class Brief:
    """A failure's text: JUnit files and workers pass it on whole, the terminal its first line.

    The section "xai" of the terminal's summary has the rest, equal errors put together; only the
    traceback of a guest is nowhere else.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        # Where pytest looks for the words behind an id in its short summary.
        self.reprcrash = SimpleNamespace(message=text.partition("\n")[0])

    def __str__(self) -> str:
        return self.text

    def toterminal(self, tw: Any) -> None:
        """Write it; pytest calls this for the section FAILURES."""
        tw.line(self.text if "Traceback" in self.text else self.reprcrash.message)


def record(item: pytest.Item, verdict: "Verdict") -> None:
    """Put the verdict's row among the properties of its test's reports."""
    from pytest_xai.reporting import finite

    row = json.dumps(finite(verdict.row()), allow_nan=False)
    item.user_properties.append((PROPERTY, row))
