"""Looks for the smallest network on which a check fails."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.check_budget import Purse
from pytest_xai.engine.exploration.example import Example
from pytest_xai.engine.exploration.exploration_task import Wanted
from pytest_xai.engine.exploration.merge import SOMEWHERE, Smallest, total
from pytest_xai.engine.exploration.one_network import Trial, examine
from pytest_xai.engine.exploration.shrinking import simplest
from pytest_xai.engine.exploration.snippet import snippet

__all__ = ["Finder"]

_BROKEN = ("failed", "error")


class Finder:
    """Looks for the smallest network on which a check fails.

    Args:
        wanted: the explainer, and what is asked of it.
        met: what the checks said on the networks so far.
        budgets: model evaluations that each check may spend on looking for smaller ones.
    """

    def __init__(
        self,
        wanted: Wanted,
        met: Mapping[Example, Trial],
        *,
        budgets: Mapping[str, int | None],
    ) -> None:
        self._wanted = wanted
        self._met = met
        self._budgets = budgets
        self._erring: list[Example] = []

    def smallest(self, name: str) -> Smallest | None:
        """Where the check fails, or raises if it never fails; None: it does neither."""
        for outcome in _BROKEN:
            there = [each for each in self._met if self._outcome(each, name) == outcome]
            if there and name in SOMEWHERE:
                return self._somewhere(name, there)
            if there:
                return self._smaller(name, outcome, there)
        return None

    def _somewhere(self, name: str, there: Sequence[Example]) -> Smallest | None:
        """The smallest as it was met: made smaller still, it would show what no explainer can."""
        if any(self._outcome(each, name) == "passed" for each in self._met):
            return None
        told = [each for each in there if each.plan.weights != "ones"] or there
        return self._shown(min(told, key=_size), name, {})

    def _smaller(self, name: str, outcome: str, there: Sequence[Example]) -> Smallest:
        purses = {name: Purse(self._budgets[name])}
        verdicts = {each: self._met[each].verdicts[name] for each in there}

        def fails(example: Example) -> bool:
            if example not in self._met and example not in verdicts:
                trial = examine(example.subject(), self._wanted, purses)
                if name in trial.verdicts:
                    verdicts[example] = _with_maps(trial, name)
            return example in verdicts and verdicts[example].outcome == outcome

        # What breaks an explainer breaks all its checks alike: it is looked for once.
        known = [each for each in self._erring if outcome == "error" and fails(each)]
        found = known[0] if known else simplest(fails, min(there, key=_size))
        if outcome == "error":
            self._erring.append(found)
        return self._shown(found, name, verdicts)

    def _shown(self, example: Example, name: str, tried: Mapping[Example, Verdict]) -> Smallest:
        verdict = tried[example] if example in tried else self._met[example].verdicts[name]
        search = [each.evaluations for tested, each in tried.items() if tested not in self._met]
        return Smallest(
            verdict=verdict,
            snippet=snippet(example, self._wanted, verdict),
            search=total(search),
        )

    def _outcome(self, example: Example, name: str) -> str:
        verdict = self._met[example].verdicts.get(name)
        return "" if verdict is None else verdict.outcome


def _with_maps(trial: Trial, name: str) -> Verdict:
    """The verdict of a check that had the network for itself, and pays for its maps."""
    verdict = trial.verdicts[name]
    return replace(verdict, evaluations=total([verdict.evaluations, trial.shared]))


def _size(example: Example) -> tuple[int, int, int]:
    return example.size
