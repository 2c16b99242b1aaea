"""The field of probes: networks whose right maps are known."""

from collections.abc import Mapping

from pytest_xai.exploration.merge import merge
from pytest_xai.exploration.trial import Purse, examine
from pytest_xai.exploration.wanted import Wanted
from pytest_xai.subjects.probes import probes
from pytest_xai.verdict import Verdict

__all__ = ["on_probes"]


def on_probes(wanted: Wanted, budgets: Mapping[str, int | None]) -> list[Verdict]:
    """One verdict for each check on all probes.

    Args:
        wanted: the explainer, and what is asked of it.
        budgets: model evaluations that each check may spend, by its name; None: no limit.
    """
    purses = {name: Purse(budgets[name]) for name in wanted.checks}
    trials = [examine(make(), wanted, list(wanted.checks), purses) for make in probes().values()]
    return [merge(name, "probes", trials, wanted, purses[name], None) for name in wanted.checks]
