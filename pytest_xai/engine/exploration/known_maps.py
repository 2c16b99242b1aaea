"""The field of probes: networks whose right maps are known."""

from collections.abc import Mapping

from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.check_budget import Purse
from pytest_xai.engine.exploration.exploration_task import Wanted
from pytest_xai.engine.exploration.merge import merge
from pytest_xai.engine.exploration.one_network import examine
from pytest_xai.subjects.probes import probes

__all__ = ["on_probes"]


def on_probes(wanted: Wanted, budgets: Mapping[str, int | None]) -> list[Verdict]:
    """One verdict for each check on all probes.

    Args:
        wanted: the explainer, and what is asked of it.
        budgets: model evaluations that each check may spend, by its name; None: no limit.
    """
    purses = {name: Purse(budgets[name]) for name in wanted.checks}
    made = probes().values()
    trials = [
        examine(make(), wanted, purses, by_now=place / len(made))
        for place, make in enumerate(made, start=1)
    ]
    return [merge(name, "probes", trials, wanted, purses[name], None) for name in wanted.checks]
