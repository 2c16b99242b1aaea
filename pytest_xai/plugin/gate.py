"""The hooks of a run with ``--xai``: adds the items, collects the verdicts, runs the reporters."""

import sys
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xai.core.run import Run, Terminal
from pytest_xai.plugin.items import CheckItem, Group
from pytest_xai.plugin.options import resolve
from pytest_xai.plugin.results import PlanSummary, Results, verdicts_of
from pytest_xai.plugin.session import session_of, usage_errors
from pytest_xai.reporting import REPORTERS
from pytest_xai.reporting.files import write

if TYPE_CHECKING:
    from pytest_xai.core.verdict import Verdict
    from pytest_xai.engine.task import Task
    from pytest_xai.reporting.progress import ProgressNote

__all__ = ["Gate"]

# The key under which a worker of pytest-xdist sends messages to its controller.
_MESSAGES = "pytest_xai"


class Gate:
    """Hooks that are registered with ``--xai`` only.

    Args:
        config: of the run.
        ids: ids of checks on the command line; empty means all checks.
        narrowed: whether the command line names ordinary tests one by one; then no check runs.
    """

    def __init__(self, config: pytest.Config, ids: Sequence[str], *, narrowed: bool) -> None:
        self._config = config
        self._options = resolve(config)
        self._ids = ids
        self._narrowed = narrowed
        self._results = Results()
        # None until the plan is made; a controller of pytest-xdist gets it from its workers.
        self._plan: PlanSummary | None = None

    # -- before the tests -------------------------------------------------------------------------

    def pytest_report_header(self) -> list[str]:
        """Return the settings that verdicts depend on."""
        run = self._options.run
        budget = "none" if run.budget is None else f"{run.budget:,} evaluations"
        settings = (
            f"xai: seed {run.seed}, alpha {run.alpha:g}, budget {budget}, "
            f"device: {run.device or 'same as the inputs'}, undecided: {run.undecided}"
        )
        lines = [settings]
        if run.demo or run.gallery:
            from pytest_xai.plugin.demo import left_out

            lines += [f"xai: {line}" for line in left_out(gallery=run.gallery)]
        return lines

    def pytest_report_collectionfinish(self) -> list[str]:
        """Name the implementation that the gallery chose for a method without a library."""
        if self._plan is None:
            return []
        from pytest_xai import explainers

        repo, methods = session_of(self._config).repo, explainers.methods()
        return [
            f"xai: {name} is {methods[method].spec}: {methods[method].reason}"
            for name, method in repo.picked.items()
        ]

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Put the gate last among what the session collects: by then all conftests are loaded."""
        report = yield
        if isinstance(collector, pytest.Session) and not self._narrowed:
            report.result = [*report.result, Group.of(collector, "xai", self._run)]
        return report

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """Plan the tasks; from here on a user's mistake ends the run and is no collect error."""
        if not (isinstance(collector, Group) and isinstance(collector.parent, pytest.Session)):
            return
        try:
            collector.tasks = self._plan_tasks()
        except pytest.UsageError as error:
            self._tell_controller({"usage_error": str(error)})
            raise

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tasks that pytest did not deselect."""
        if self._plan is None:
            return
        selected = sum(isinstance(item, CheckItem) for item in session.items)
        self._plan = replace(self._plan, selected=selected)
        self._tell_controller({"plan": asdict(self._plan)})

    def _plan_tasks(self) -> list["Task"]:
        from pytest_xai import checks
        from pytest_xai.plugin.plan import choose, plan_tasks

        repo = session_of(self._config).repo
        with usage_errors():
            tasks = plan_tasks(repo, self._options)
            chosen = choose(tasks, self._ids)
            _require_device(self._options.run.device)
        self._plan = PlanSummary(
            ids=[task.id for task in tasks],
            shares=[task.budget for task in tasks if task.budget is not None],
            measured=[task.id for task in tasks if not task.asserted],
            checks={check.name: check.labels for check in checks.all()},
            subjects=len(repo.subjects),
            explainers=len(repo.explainers),
        )
        return chosen

    # -- the tests --------------------------------------------------------------------------------

    def _run(self, task: "Task", item: pytest.Item) -> "Verdict":
        from pytest_xai.plugin.benches import run_task

        if self._config.getoption("runxfail"):
            task = replace(task, expected=None)
        note = self._note(item)
        try:
            benches = session_of(self._config).benches
            return run_task(task, benches, seed=self._options.run.seed, progress=note)
        finally:
            if note is not None:
                note.close()

    def _note(self, item: pytest.Item) -> "ProgressNote | None":
        """Return a progress note; None without a terminal, in a worker, and with ``-q``."""
        config = self._config
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        # A worker has no terminal reporter; with -s explainers and models write to the terminal.
        if reporter is None or capture is None or config.getoption("capture") == "no":
            return None
        writer = config.get_terminal_writer()
        if config.get_verbosity() < 0 or not (writer.hasmarkup and reporter.isatty):
            return None
        from pytest_xai.reporting.progress import ProgressNote

        def write(text: str) -> None:
            # Not through pytest's writer, which would count the escape codes as part of its line.
            with capture.global_and_fixture_disabled():
                sys.stdout.write(text)
                sys.stdout.flush()

        def room() -> int:
            return writer.fullwidth - writer.width_of_current_line

        return ProgressNote(item.nodeid.removeprefix("xai::"), write=write, room=room)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the verdicts; the controller collects those of all workers."""
        self._results.add(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show undecided as a category of its own, neither passed nor failed."""
        if report.when != "call" or not report.passed or self._options.run.undecided != "warn":
            return None
        if not isinstance(report, pytest.TestReport) or not report.nodeid.startswith("xai::"):
            return None
        verdicts = verdicts_of(report)
        if verdicts and verdicts[-1].asserted and verdicts[-1].outcome == "undecided":
            return "undecided", "u", ("UNDECIDED", {"yellow": True})
        return None

    # -- after the tests --------------------------------------------------------------------------

    def _tell_controller(self, message: dict[str, Any]) -> None:
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput.setdefault(_MESSAGES, {}).update(message)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take the messages of a worker of pytest-xdist."""
        message = getattr(node, "workeroutput", {}).get(_MESSAGES, {})
        if "usage_error" in message:
            raise pytest.UsageError(message["usage_error"])
        if "plan" in message:
            self._plan = PlanSummary(**message["plan"])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the reports to their files, in the process that has all verdicts."""
        if hasattr(self._config, "workerinput") or session.config.option.collectonly:
            return
        # A run without verdicts and without a plan leaves the report of an earlier run alone.
        verdicts = self._verdicts()
        if not (verdicts or self._plan):
            return
        run = self._description()
        for name, path in self._options.files.items():
            try:
                write(path, REPORTERS[name].load()(verdicts, run))
            except OSError as error:
                pytest.exit(f"--xai-{name}: {path} cannot be written: {error}", returncode=1)

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        """Show the reports that are for the terminal in the section "xai"."""
        verdicts = self._verdicts()
        if not (verdicts or self._plan):
            return
        run = self._description()
        shown = [each.load()(verdicts, run) for each in REPORTERS.values() if not each.writes]
        if any(shown):
            terminalreporter.section("xai")
            terminalreporter.write("\n".join(text for text in shown if text))

    def _description(self) -> Run:
        """Return the description of the run, with what was planned and spent."""
        plan, terminal = self._plan, Terminal()
        if self._config.pluginmanager.has_plugin("terminalreporter"):
            writer = self._config.get_terminal_writer()
            terminal = Terminal(
                width=writer.fullwidth,
                colour=writer.hasmarkup,
                verbosity=self._config.get_verbosity(),
            )
        run = replace(self._options.run, spent=self._results.spent(plan), terminal=terminal)
        if plan is None:
            return run
        return replace(
            run,
            planned=len(plan.ids),
            selected=plan.selected,
            subjects=plan.subjects,
            explainers=plan.explainers,
            shares=dict(zip(plan.ids, plan.shares, strict=True)) if plan.shares else {},
            checks=tuple(plan.checks),
        )

    def _verdicts(self) -> "list[Verdict]":
        return self._results.in_order(self._plan, self._options)


def _require_device(name: str | None) -> None:
    if name is None:
        return
    import torch

    try:
        torch.empty(0, device=name)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise pytest.UsageError(
            f"--xai-device: got {name!r}, expected a device of this machine ({reason})"
        ) from None
