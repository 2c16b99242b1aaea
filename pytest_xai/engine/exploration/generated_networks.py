"""The field of generated networks: every structure alone, then random combinations."""

from collections.abc import Mapping

from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.check_budget import Purse
from pytest_xai.engine.exploration.example import Example
from pytest_xai.engine.exploration.exploration_task import Wanted
from pytest_xai.engine.exploration.merge import merge
from pytest_xai.engine.exploration.one_network import Trial, examine
from pytest_xai.engine.exploration.random_examples import walk
from pytest_xai.engine.exploration.smallest_failure import Finder
from pytest_xai.networks import STRUCTURES

__all__ = ["NETWORKS", "on_networks"]

# Random networks that are tried where nobody says how many.
NETWORKS = 30


def on_networks(
    wanted: Wanted, budgets: Mapping[str, int | None], *, networks: int | None = None
) -> list[Verdict]:
    """One verdict for each check, with the smallest network on which it fails.

    Args:
        wanted: the explainer, and what is asked of it.
        budgets: model evaluations that each check may spend, by its name; None: no limit. The
            search for a smaller network may spend as much again.
        networks: how many random ones, beside those with one structure each; None: `NETWORKS`.
    """
    networks = NETWORKS if networks is None else networks
    purses = {name: Purse(budgets[name]) for name in wanted.checks}
    met: dict[Example, Trial] = {}

    def visit(example: Example) -> None:
        if example not in met:
            by_now = min(1.0, (len(met) + 1) / (len(STRUCTURES) + networks))
            met[example] = examine(example.subject(), wanted, purses, by_now=by_now)

    for plan in STRUCTURES.values():
        visit(Example(plan=plan, images=2, zeros=False))
    walk(visit, kinds=_kinds(met), networks=networks)
    finder = Finder(wanted, met, budgets=budgets)
    trials = list(met.values())
    return [
        merge(name, "networks", trials, wanted, purses[name], finder.smallest(name))
        for name in wanted.checks
    ]


def _kinds(met: Mapping[Example, Trial]) -> frozenset[str]:
    """The kinds of inputs that the explainer took at least once."""
    taken = frozenset(example.plan.kind for example, trial in met.items() if not trial.refused)
    return taken or frozenset({"image"})
