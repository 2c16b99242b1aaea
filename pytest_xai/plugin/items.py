"""The pytest items of the gate, in collectors for the gate, its subjects and its explainers."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_xai.core.verdict import Verdict
    from pytest_xai.engine.task import Task

__all__ = ["PROPERTY", "CheckItem", "Group", "record"]

# The name under which a verdict's row travels in reports: to the controller of pytest-xdist and
# into JUnit files.
PROPERTY = "xai"

Run = Callable[["Task", pytest.Item], "Verdict"]


class Group(pytest.Collector):
    """The gate (``xai``), one of its subjects, or one explainer on it."""

    tasks: Sequence["Task"]
    run: Run

    @classmethod
    def of(cls, parent: pytest.Collector, name: str, run: Run) -> "Group":
        """Return an empty group; its tasks are set later."""
        top = {"nodeid": name} if isinstance(parent, pytest.Session) else {}
        group: Group = cls.from_parent(parent, name=name, **top)
        group.tasks, group.run = (), run
        return group

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """One group per subject, in it one per explainer, in it one item per check."""
        depth = self.nodeid.count("::")
        if depth == 2:
            for task in self.tasks:
                yield CheckItem.of(self, task)
            return
        names = dict.fromkeys(task.id.split("::")[depth + 1] for task in self.tasks)
        for name in names:
            group = Group.of(self, name, self.run)
            group.tasks = [task for task in self.tasks if task.id.split("::")[depth + 1] == name]
            yield group


class CheckItem(pytest.Item):
    """One check on one explainer and one subject."""

    task: "Task"
    run: Run

    @classmethod
    def of(cls, parent: Group, task: "Task") -> "CheckItem":
        """Return the item of a task, with its markers."""
        check = task.check
        item: CheckItem = cls.from_parent(parent, name=check.name)
        item.task, item.run = task, parent.run
        for marker in ("xai", check.family, *check.marks):
            item.add_marker(marker)
        return item

    def setup(self) -> None:
        """Skip what needs a GPU where there is none."""
        import torch

        if "gpu" in self.task.check.marks and not torch.cuda.is_available():
            pytest.skip("needs a GPU that torch can use")

    def runtest(self) -> None:
        """Run the check, hand its row on, and end as the verdict says."""
        from pytest_xai.plugin.options import resolve
        from pytest_xai.plugin.settle import settle

        verdict = self.run(self.task, self)
        record(self, verdict)
        settle(verdict, undecided=resolve(self.config).run.undecided)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A failed check shows its message, anything else its traceback."""
        from pytest_xai.errors import CheckFailed

        if isinstance(excinfo.value, (CheckFailed, pytest.xfail.Exception)):
            # The heading names both already.
            check, explainer = self.task.check.name, self.task.explainer.name
            return Brief(str(excinfo.value).removeprefix(f"{explainer}::{check}: "))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """The place of the first part of the id, and a heading for a failure."""
        check, explainer = self.task.check.name, self.task.explainer.name
        heading = f"{check} of {explainer} on {self.task.subject}"
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
    item.user_properties.append((PROPERTY, json.dumps(verdict.row(), allow_nan=False)))
