"""The collection "probes": networks whose right maps are known."""

from collections.abc import Sequence

from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.check_budget import CheckBudget
from pytest_xai.engine.exploration.merge import merge
from pytest_xai.engine.exploration.one_network import try_network
from pytest_xai.engine.task import Task
from pytest_xai.subjects.probes import probes

__all__ = ["on_probes"]


def on_probes(tasks: Sequence[Task], seed: int = 0) -> list[Verdict]:
    """Return one verdict for each task on all probes.

    Args:
        tasks: exact checks of one explainer, each with its budget.
        seed: of the run.
    """
    budgets = {task.check.name: CheckBudget(task.budget) for task in tasks}
    made = probes().values()
    results = [
        try_network(make(), tasks, budgets, seed=seed, by_now=place / len(made))
        for place, make in enumerate(made, start=1)
    ]
    return [merge(task, "probes", results, payer=task is tasks[0]) for task in tasks]
