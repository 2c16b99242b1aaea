"""Plans a run: which check runs on which explainer and subject, from names and traits alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_xai.engine.selection import (
    applying,
    require_names,
    select,
    share_alpha,
    share_budget,
)
from pytest_xai.engine.task import Task
from pytest_xai.errors import UnknownName
from pytest_xai.plugin.model_repo import Expectation, ModelRepo
from pytest_xai.plugin.options import Options, reproduce_command
from pytest_xai.protocol import NamedExplainer

__all__ = ["choose", "plan_tasks"]


def plan_tasks(repo: ModelRepo, options: Options) -> list[Task]:
    """Return all tasks: by subject and explainer as registered, by check as in the registry.

    Alpha and the budget are shared over the whole plan. So a verdict does not depend on which
    other checks pytest deselects.

    Raises:
        UnknownName: the name of a check, family or claim does not exist, or an expected failure
            names something that does not exist or is not planned.
    """
    run = options.run
    for flag, names in (("--xai-select", run.select), ("--xai-ignore", run.ignore)):
        try:
            require_names(names)
        except UnknownName as error:
            raise UnknownName(f"{flag}: {error}") from error
    chosen = {
        name: _select(explainer, run.select, run.ignore)
        for name, explainer in repo.explainers.items()
    }
    for expectation in repo.expectations:
        _refuse_stale(expectation, repo, chosen)
    tasks = [
        replace(
            task,
            subject=subject,
            expected=repo.expected(subject, task.explainer.name, task.check.name),
        )
        for subject in repo.subjects
        for selected in chosen.values()
        for task in selected
    ]
    alpha = share_alpha(run.alpha, tasks)
    budgets = share_budget(run.budget, tasks)
    return [
        replace(task, alpha=alpha, budget=budget, reproduce=reproduce_command(task.id, options))
        for task, budget in zip(tasks, budgets, strict=True)
    ]


def choose(tasks: Sequence[Task], ids: Sequence[str]) -> list[Task]:
    """Return the tasks that ids on the command line name; all of them if there are no ids.

    Args:
        tasks: the plan.
        ids: ids, or the beginnings of ids, part by part.

    Raises:
        UnknownName: an id matches nothing; the message lists the names that exist.
    """
    paths = [tuple(task.id.split("::")) for task in tasks]
    chosen: set[tuple[str, ...]] = set()
    for one in ids:
        parts = tuple(one.rstrip(":").split("::"))
        found = [path for path in paths if path[: len(parts)] == parts]
        if not found:
            raise _unmatched(parts, paths)
        chosen.update(found)
    return [task for task, path in zip(tasks, paths, strict=True) if not ids or path in chosen]


def _select(explainer: NamedExplainer, names: Sequence[str], ignore: Sequence[str]) -> list[Task]:
    try:
        return select(explainer, select=names, ignore=ignore)
    except UnknownName as error:
        raise UnknownName(f"explainer {explainer.name!r}: {error}") from error


def _unmatched(parts: Sequence[str], paths: Sequence[tuple[str, ...]]) -> UnknownName:
    """Name the first part of an id that matches nothing."""
    there = list(paths)
    for depth, part in enumerate(parts):
        known = dict.fromkeys(path[depth] for path in there if len(path) > depth)
        if part not in known:
            break
        there = [path for path in there if path[depth] == part]
    kind = ("id", "subject", "explainer", "check", "part")[min(depth, 4)]
    return UnknownName(f"{'::'.join(parts)}: {UnknownName.among(kind, part, known)}")


def _refuse_stale(
    expectation: Expectation, repo: ModelRepo, chosen: Mapping[str, Sequence[Task]]
) -> None:
    """Refuse an expected failure of a check that never runs: it would stay there unnoticed."""
    places: list[tuple[str, str, Sequence[str]]] = []
    if expectation.subject is not None:
        places.append(("subject", expectation.subject, list(repo.subjects)))
    places.append(("explainer", expectation.explainer, list(repo.explainers)))
    if expectation.explainer in repo.explainers:
        explainer = repo.explainers[expectation.explainer]
        # A check that --xai-select leaves out of this run is not stale.
        selected = [task.check.name for task in chosen[explainer.name]]
        names = list(dict.fromkeys([*applying(explainer), *selected]))
        places.append((f"check of explainer {explainer.name!r}", expectation.check, names))
    for kind, name, known in places:
        if name not in known:
            where = f"expected failure {expectation.explainer}::{expectation.check}"
            raise UnknownName(f"{where}: {UnknownName.among(kind, name, known)}")
