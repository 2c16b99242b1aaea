"""The hooks of a run with ``--xai``: adds the items, gathers the verdicts, reports them."""

import sys
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xai.plugin.items import CheckItem, Group
from pytest_xai.plugin.options import resolve
from pytest_xai.plugin.results import Facts, Results, rows_of
from pytest_xai.plugin.session import usage_errors, workshop
from pytest_xai.reporting import Row

if TYPE_CHECKING:
    from pytest_xai.core.verdict import Verdict
    from pytest_xai.plugin.plan import Case
    from pytest_xai.reporting.progress import ProgressNote

__all__ = ["Gate"]

# The key of what a worker of pytest-xdist tells its controller.
_NEWS = "pytest_xai"


class Gate:
    """Hooks that are registered with ``--xai`` only.

    Args:
        config: of the run.
        wanted: ids given on the command line; none: all cases.
        narrowed: the command line names ordinary tests one by one, so the gate stays out.
    """

    def __init__(self, config: pytest.Config, wanted: Sequence[str], *, narrowed: bool) -> None:
        self._config = config
        self._options = resolve(config)
        self._wanted = wanted
        self._narrowed = narrowed
        self._results = Results()
        # None until the plan is made; a controller of pytest-xdist hears it from its workers.
        self._facts: Facts | None = None

    # -- before the tests -------------------------------------------------------------------------

    def pytest_report_header(self) -> list[str]:
        """The settings that verdicts depend on."""
        options = self._options
        budget = "none" if options.budget is None else f"{options.budget:,} evaluations"
        settings = (
            f"xai: seed {options.seed}, alpha {options.alpha:g}, budget {budget}, "
            f"device {options.device or 'of the inputs'}, undecided: {options.undecided}"
        )
        lines = [settings]
        if options.demo or options.gallery:
            from pytest_xai.plugin.demo import left_out

            lines += [f"xai: {line}" for line in left_out(gallery=options.gallery)]
        return lines

    def pytest_report_collectionfinish(self) -> list[str]:
        """Which implementation the gallery picked for a method named without a library."""
        if self._facts is None:
            return []
        from pytest_xai import explainers

        registry, methods = workshop(self._config).registry, explainers.methods()
        return [
            f"xai: {name} is {methods[method].spec}: {methods[method].reason}"
            for name, method in registry.picked.items()
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
        """Plan the cases; from here a user's mistake ends the run and is no collect error."""
        if not (isinstance(collector, Group) and isinstance(collector.parent, pytest.Session)):
            return
        try:
            collector.cases = self._plan()
        except pytest.UsageError as error:
            self._tell_controller({"usage_error": str(error)})
            raise

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what pytest left of the plan."""
        if self._facts is None:
            return
        selected = sum(isinstance(item, CheckItem) for item in session.items)
        self._facts = replace(self._facts, selected=selected)
        self._tell_controller({"facts": asdict(self._facts)})

    def _plan(self) -> list["Case"]:
        from pytest_xai import checks
        from pytest_xai.plugin.plan import choose, plan_cases

        registry = workshop(self._config).registry
        with usage_errors():
            cases = plan_cases(registry, self._options)
            chosen = choose(cases, self._wanted)
            _require_device(self._options.device)
        self._facts = Facts(
            ids=[case.id for case in cases],
            shares=[case.assignment.budget for case in cases if case.assignment.budget is not None],
            measured=[case.id for case in cases if not case.assignment.asserted],
            checks={c.name: (c.family, c.direction, c.claim) for c in checks.all()},
            subjects=len(registry.subjects),
            explainers=len(registry.explainers),
        )
        return chosen

    # -- the tests --------------------------------------------------------------------------------

    def _run(self, case: "Case", item: pytest.Item) -> "Verdict":
        from pytest_xai.plugin.cases import run_case

        if self._config.getoption("runxfail"):
            case = replace(case, assignment=replace(case.assignment, expected=None))
        note = self._note(item)
        try:
            benches = workshop(self._config).benches
            return run_case(case, benches, seed=self._options.seed, progress=note)
        finally:
            if note is not None:
                note.close()

    def _note(self, item: pytest.Item) -> "ProgressNote | None":
        """A note where someone watches: a terminal, no worker of pytest-xdist, not quiet."""
        config = self._config
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        # A worker has no terminal reporter; with -s the guests themselves write there.
        if reporter is None or capture is None or config.getoption("capture") == "no":
            return None
        writer = config.get_terminal_writer()
        if config.get_verbosity() < 0 or not (writer.hasmarkup and reporter.isatty):
            return None
        from pytest_xai.reporting.progress import ProgressNote

        def write(text: str) -> None:
            # Past pytest's writer, which would count the escape codes into its line.
            with capture.global_and_fixture_disabled():
                sys.stdout.write(text)
                sys.stdout.flush()

        def room() -> int:
            return writer.fullwidth - writer.width_of_current_line

        return ProgressNote(item.nodeid.removeprefix("xai::"), write=write, room=room)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the rows; in the controller those of all workers."""
        self._results.add(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show undecided as a category of its own, neither passed nor failed."""
        if report.when != "call" or not report.passed or self._options.undecided != "warn":
            return None
        if not isinstance(report, pytest.TestReport) or not report.nodeid.startswith("xai::"):
            return None
        rows = rows_of(report)
        if rows and rows[-1]["asserted"] and rows[-1]["outcome"] == "undecided":
            return "undecided", "u", ("UNDECIDED", {"yellow": True})
        return None

    # -- after the tests --------------------------------------------------------------------------

    def _tell_controller(self, news: dict[str, Any]) -> None:
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput.setdefault(_NEWS, {}).update(news)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Hear what a worker of pytest-xdist found out."""
        news = getattr(node, "workeroutput", {}).get(_NEWS, {})
        if "usage_error" in news:
            raise pytest.UsageError(news["usage_error"])
        if "facts" in news:
            self._facts = Facts(**news["facts"])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, in the process that knows all verdicts."""
        path, rows = self._options.json, self._rows()
        if path is None or hasattr(self._config, "workerinput"):
            return
        # A run without verdicts and without a plan leaves the report of an earlier one alone.
        if session.config.option.collectonly or not (rows or self._facts):
            return
        from pytest_xai.reporting.json_report import report_json, write_json

        options = self._options
        run = {
            "seed": options.seed,
            "alpha": options.alpha,
            "budget": options.budget,
            **self._accounts(),
            "undecided": options.undecided,
            "device": options.device,
            "demo": options.demo or options.gallery,
            "gallery": options.gallery,
            "select": options.select,
            "ignore": options.ignore,
            "planned": len(self._facts.ids) if self._facts else 0,
            "selected": self._facts.selected if self._facts else 0,
        }
        try:
            write_json(path, report_json(rows, run=run))
        except OSError as error:
            pytest.exit(f"--xai-json: {path} cannot be written: {error}", returncode=1)

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        """Draw the section "xai"."""
        from pytest_xai.reporting import terminal

        writer = self._config.get_terminal_writer()
        look = terminal.Look(
            width=writer.fullwidth,
            colour=writer.hasmarkup,
            verbosity=self._config.get_verbosity(),
        )
        rows = self._rows()
        if rows:
            claims = self._facts.claims if self._facts else {}
            options = self._options
            run = terminal.Run(
                seed=options.seed,
                alpha=options.alpha,
                budget=options.budget,
                spent=self._results.spent(self._facts),
                claims=claims,
            )
            text = terminal.summary(rows, run, look)
        elif self._facts and not self._facts.ids:
            counts = self._facts.subjects, self._facts.explainers
            text = terminal.how_to_register(look, subjects=counts[0], explainers=counts[1])
        else:
            return
        terminalreporter.section("xai")
        terminalreporter.write(text)

    def _accounts(self) -> dict[str, object]:
        """What was spent of the budget, what is left, and what each planned case was given."""
        budget, spent = self._options.budget, self._results.spent(self._facts)
        if budget is None:
            return {"spent": spent, "left": None, "shares": None}
        facts = self._facts
        shares = dict(zip(facts.ids, facts.shares, strict=True)) if facts else {}
        return {"spent": spent, "left": budget - spent, "shares": shares}

    def _rows(self) -> list[Row]:
        return self._results.in_order(self._facts, self._options)


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
