"""`check_explainer`: checks an explainer on a subject, or on everything that is built in."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pytest_xai import checks as catalogue
from pytest_xai.bench.bench import Bench
from pytest_xai.core.run import Run
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration import COLLECTIONS
from pytest_xai.engine.report import Report
from pytest_xai.engine.run_check import as_expected, run_check
from pytest_xai.engine.selection import require_budget, select, share_alpha, share_budget
from pytest_xai.engine.task import Task
from pytest_xai.errors import CheckFailed, InvalidArgument, UnknownName
from pytest_xai.protocol import named

__all__ = ["BUDGET", "as_announced", "check_explainer", "fitting", "on_collection", "on_subject"]

# Model evaluations of a call without a subject.
BUDGET = 8_000_000
# Half of them is for the digits, and a quarter for each collection of small networks.
_HALF, _QUARTER = 2, 4
# Assumed cost of one map of an unknown explainer, in evaluations, to share out the budget.
_PER_MAP = 50


def check_explainer(
    explainer: object,
    subject: Subject | Callable[[], Subject] | None = None,
    checks: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    expected_failures: Mapping[str, str] | None = None,
    on_fail: Literal["raise", "warn", "ignore"] = "raise",
    seed: int = 0,
    alpha: float = 0.001,
    budget: int | None = None,
) -> Report:
    """Check an explainer, in a notebook or a script as under pytest.

    Without a subject, it is checked on the bundled digits ("digits"), on networks whose right maps
    are known ("probes"), and on generated networks ("networks"). There, a check has one verdict for
    all of them, and the counterexample of a failure is the smallest network that was found to show
    it, as Python that can be run.

    Args:
        explainer: a callable explainer(model, inputs, targets), or a gallery name such as
            "captum:IntegratedGradients".
        subject: what to explain, or a function that makes it; None: all that is built in.
        checks: names of checks or families; None: all that apply.
        ignore: names of checks or families to leave out.
        expected_failures: reasons by name of check; such a check must fail (strict), without a
            subject on one of those built in.
        on_fail: what failed verdicts do: raise `CheckFailed`, warn, or nothing.
        seed: every random number follows from it.
        alpha: probability that any sampled verdict is wrong, shared by all of them.
        budget: model evaluations for the whole run, shared by declared cost; None: no limit, and
            `BUDGET` without a subject. The search for a smaller counterexample comes on top.

    Returns:
        The verdicts, in the order of the checks.

    Raises:
        CheckFailed: a verdict fails the run and ``on_fail`` is "raise".
        InvalidArgument: an argument is wrong.
        UnknownName: a name of a check, claim, explainer or expected failure does not exist.
    """
    if on_fail not in ("raise", "warn", "ignore"):
        raise InvalidArgument.of("on_fail", got=repr(on_fail), expected="raise, warn or ignore")
    if isinstance(explainer, str):
        from pytest_xai import explainers as gallery

        explainer = gallery.get(explainer)
    checked = named(explainer)
    names = _names("checks", checks or ()), _names("ignore", ignore)
    tasks = select(checked, select=names[0], ignore=names[1], probes=subject is None)
    expected = dict(expected_failures or {})
    planned = [task.check.name for task in tasks]
    for name in expected:
        if name not in planned:
            raise UnknownName.among("check in expected_failures", name, planned)
    if subject is None:
        run = Run(seed=seed, alpha=alpha, budget=BUDGET if budget is None else budget)
        verdicts = _built_in(tasks, run)
    else:
        run = Run(seed=seed, alpha=alpha, budget=budget)
        verdicts = on_subject(_subject(subject), tasks, run)
    report = Report(as_announced(verdicts, expected), run)
    _announce(report, on_fail)
    return report


def on_subject(
    subject: Subject, tasks: Sequence[Task], run: Run, *, parts: int = 1, per_map: int = 1
) -> list[Verdict]:
    """Return one verdict for each task on one subject.

    Args:
        subject: what to explain.
        tasks: the tasks, which share alpha and the budget.
        run: of the call.
        parts: the budget is split into this many equal parts; one of them is for this subject.
        per_map: evaluations that one map is assumed to cost, to share out the budget.
    """
    alpha = share_alpha(run.alpha, tasks)
    budgets = share_budget(_part(run.budget, parts), tasks, per_map=per_map)
    bench = Bench(subject, seed=run.seed)
    try:
        return [
            run_check(
                bench,
                replace(
                    task,
                    subject=subject.name,
                    alpha=alpha,
                    budget=budget,
                    reproduce=_call(task, replace(run, alpha=alpha, budget=_whole(budget, parts))),
                ),
            )
            for task, budget in zip(tasks, budgets, strict=True)
        ]
    finally:
        bench.close()


def on_collection(collection: str, tasks: Sequence[Task], run: Run) -> list[Verdict]:
    """Return one verdict for each task on a collection of small networks.

    Tasks that the collection is not for are left out: see `fitting`.

    Args:
        collection: "probes" or "networks".
        tasks: the tasks, which share the budget.
        run: of the call; a quarter of its budget is for this collection.
    """
    chosen = fitting(tasks, collection)
    shares = share_budget(_part(run.budget, _QUARTER), chosen, per_map=_PER_MAP)
    shared = [
        replace(
            task,
            subject=collection,
            budget=share,
            reproduce=_call(task, replace(run, budget=_whole(share, _QUARTER))),
        )
        for task, share in zip(chosen, shares, strict=True)
    ]
    return COLLECTIONS[collection](shared, run.seed) if shared else []


def fitting(tasks: Sequence[Task], collection: str) -> list[Task]:
    """Return the tasks that a collection is for: asserted, and judged by single images."""
    return [
        task
        for task in tasks
        if task.asserted
        and task.check.judged == "exact"
        and (collection == "probes" or task.check.scope != "probe")
    ]


def as_announced(verdicts: Sequence[Verdict], expected: Mapping[str, str]) -> list[Verdict]:
    """Mark expected failures; where a check fails on one subject, its passes elsewhere are passes.

    Args:
        verdicts: of one run.
        expected: reasons by name of check.
    """
    failing = {verdict.check for verdict in verdicts if verdict.outcome == "failed"}
    return [
        as_expected(verdict, expected[verdict.check])
        if verdict.check in expected
        and (verdict.outcome == "failed" or verdict.check not in failing)
        else verdict
        for verdict in verdicts
    ]


def _built_in(tasks: Sequence[Task], run: Run) -> list[Verdict]:
    """Return the verdicts on the digits and on both collections, in the order of the checks."""
    from pytest_xai.subjects import load_digits

    on_images = [task for task in tasks if task.check.scope != "probe"]
    verdicts = on_subject(load_digits(), on_images, run, parts=_HALF, per_map=_PER_MAP)
    for collection in COLLECTIONS:
        verdicts += on_collection(collection, tasks, run)
    order = catalogue.names()
    return sorted(verdicts, key=lambda verdict: order.index(verdict.check))


def _part(budget: int | None, parts: int) -> int | None:
    require_budget(budget)
    return None if budget is None else budget // parts


def _whole(share: int | None, parts: int) -> int | None:
    """Return the budget that gives a check this share when it runs alone."""
    return None if share is None else share * parts


def _call(task: Task, run: Run) -> str:
    """Return the call that repeats one check: alone, it has all of alpha and of the budget."""
    return (
        f"check_explainer({task.explainer.origin or task.explainer.name}, "
        f"checks=[{task.check.name!r}], seed={run.seed}, alpha={run.alpha!r}, budget={run.budget})"
    )


def _names(argument: str, names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InvalidArgument.of(argument, got=repr(names), expected="a list of names")
    return tuple(names)


def _subject(subject: Subject | Callable[[], Subject]) -> Subject:
    if isinstance(subject, Subject):
        return subject
    made: Any = subject() if callable(subject) else subject
    if not isinstance(made, Subject):
        raise InvalidArgument.of(
            "subject", got=type(made).__name__, expected="a Subject or a function that makes one"
        )
    return made


def _announce(report: Report, on_fail: str) -> None:
    if not report.failed or on_fail == "ignore":
        return
    from pytest_xai.reporting.terminal import failure_text

    text = "\n\n".join(failure_text(verdict) for verdict in report.failed)
    if on_fail == "raise":
        raise CheckFailed(text)
    warnings.warn(text, stacklevel=3)
