"""Selects the checks that apply to an explainer, and shares alpha and the budget among them."""

from collections.abc import Iterable, Sequence

from pytest_xai import checks as catalogue
from pytest_xai.engine.task import Task
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import FAMILIES

__all__ = [
    "SLOW",
    "applying",
    "require_budget",
    "require_names",
    "select",
    "share_alpha",
    "share_budget",
]

# The mark of checks that take minutes, and the word that selects them all.
SLOW = "slow"


def select(
    explainer: NamedExplainer,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    probes: bool = False,
) -> list[Task]:
    """Return a task for each check that applies to an explainer; no model is run.

    Universal checks and quality checks apply to every explainer, claimed properties to those that
    claim them. A property that is asked for by its own name but not claimed is measured, not
    asserted. Checks for probes, whose right maps are known, run where there are probes or where
    their own name asks for them, and are asserted there. Checks marked slow run where they are
    claimed, or where their own name, or the word "slow", asks for them.

    Args:
        explainer: the explainer; its traits decide.
        select: names of checks or families, or "slow"; empty means all but the slow checks.
        ignore: names of checks or families, or "slow", to leave out.
        probes: whether there are probes, on which to run what is made for them.

    Raises:
        UnknownName: a name is neither a check nor a family, or a claim is no check.
    """
    traits = explainer.traits
    table = catalogue.all()
    require_names([*select, *ignore])
    names = [check.name for check in table]
    for claim in sorted(traits.claims):
        if claim not in names:
            raise UnknownName.among("claim", claim, names)
    tasks = []
    for check in table:
        left_out = SLOW in check.marks and check.name not in traits.claims
        group = SLOW if left_out else check.family
        asked = check.name in select or group in select or (not select and group != SLOW)
        if not asked or {check.name, check.family, *check.marks} & set(ignore):
            continue
        if check.scope == "probe" and check.name not in select and not probes:
            continue
        asserted = check.scope != "claimed" or check.name in traits.claims
        if asserted or check.name in select:
            tasks.append(Task(check=check, explainer=explainer, asserted=asserted))
    return tasks


def applying(explainer: NamedExplainer) -> list[str]:
    """Return the names of all checks that apply to an explainer, including the slow ones.

    Raises:
        UnknownName: a claim is no check.
    """
    tasks = [*select(explainer), *select(explainer, select=[SLOW])]
    return list(dict.fromkeys(task.check.name for task in tasks))


def require_names(words: Iterable[str]) -> None:
    """Refuse words that name neither a check nor a family.

    Raises:
        UnknownName: lists the names that exist.
    """
    known = [*FAMILIES, SLOW, *(check.name for check in catalogue.all())]
    for word in words:
        if word not in known:
            raise UnknownName.among("check or family", word, known)


def share_alpha(alpha: float, tasks: Iterable[Task]) -> float:
    """Return the level of one sampled verdict: alpha over the number of asserted ones (Bonferroni).

    This bounds the probability that any of them is wrong, however the verdicts of a run depend on
    each other. They do depend on each other, because they share images, maps and attacks.

    Raises:
        InvalidArgument: alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise InvalidArgument.of("alpha", got=alpha, expected="between 0 and 1")
    sampled = sum(1 for task in tasks if task.asserted and task.check.judged != "exact")
    return alpha / max(sampled, 1)


def share_budget(
    budget: int | None, tasks: Sequence[Task], *, per_map: int = 1
) -> list[int | None]:
    """Split a run's budget of model evaluations in proportion to the declared cost.

    The part of its share that a check does not use is not passed on. Otherwise the verdicts of
    other checks would depend on which checks ran before them, in which process, and on the
    selection.

    Args:
        budget: of the run; None means no limit.
        tasks: all tasks of the run.
        per_map: evaluations that one map is assumed to cost.

    Returns:
        A share for each task, rounded down; together at most the budget.

    Raises:
        InvalidArgument: the budget is no integer, or negative.
    """
    require_budget(budget)
    if budget is None:
        return [None] * len(tasks)
    weights = [
        task.check.cost.least + (per_map - 1) * task.check.cost.explainer_calls for task in tasks
    ]
    return [budget * weight // max(sum(weights), 1) for weight in weights]


def require_budget(budget: int | None) -> None:
    """Refuse a budget that is not a number of evaluations.

    Raises:
        InvalidArgument: the budget is no integer, or negative.
    """
    if budget is None:
        return
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 0:
        expected = "a number of evaluations >= 0"
        raise InvalidArgument.of("budget", got=repr(budget), expected=expected)
