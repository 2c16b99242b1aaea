"""Searches for the smallest network on which a check fails."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.engine.exploration.check_budget import CheckBudget
from pytest_xai.engine.exploration.example import Example
from pytest_xai.engine.exploration.merge import ONE_PASS_SUFFICES, Smallest
from pytest_xai.engine.exploration.one_network import NetworkResult, try_network
from pytest_xai.engine.exploration.shrinking import simplest
from pytest_xai.engine.exploration.snippet import snippet
from pytest_xai.engine.task import Task

__all__ = ["SmallestFailure"]

_BROKEN = ("failed", "error")


class SmallestFailure:
    """The search for the smallest network on which a check fails.

    Args:
        tried: the results on the networks so far.
        seed: of the run.
    """

    def __init__(self, tried: Mapping[Example, NetworkResult], *, seed: int) -> None:
        self._tried = tried
        self._seed = seed
        self._with_errors: list[Example] = []

    def of(self, task: Task) -> Smallest | None:
        """Return where the check fails, or raises if it never fails; None if it does neither.

        Args:
            task: the search may spend its budget once more.
        """
        name = task.check.name
        for outcome in _BROKEN:
            broken = [each for each in self._tried if self._outcome(each, name) == outcome]
            if broken and name in ONE_PASS_SUFFICES:
                return self._as_tried(task, broken)
            if broken:
                return self._smaller(task, outcome, broken)
        return None

    def _as_tried(self, task: Task, broken: Sequence[Example]) -> Smallest | None:
        """Return the smallest network that was tried: a smaller one would fail every explainer."""
        name = task.check.name
        if any(self._outcome(each, name) == "passed" for each in self._tried):
            return None
        telling = [each for each in broken if each.plan.weights != "ones"] or broken
        return self._shown(min(telling, key=_size), task, {})

    def _smaller(self, task: Task, outcome: str, broken: Sequence[Example]) -> Smallest:
        name = task.check.name
        budgets = {name: CheckBudget(task.budget)}
        verdicts = {each: self._tried[each].verdicts[name] for each in broken}

        def fails(example: Example) -> bool:
            if example not in self._tried and example not in verdicts:
                result = try_network(example.subject(), [task], budgets, seed=self._seed)
                if name in result.verdicts:
                    verdicts[example] = _with_maps(result, name)
            return example in verdicts and verdicts[example].outcome == outcome

        # An error of the explainer breaks all its checks in the same way: one search is enough.
        known = [each for each in self._with_errors if outcome == "error" and fails(each)]
        found = known[0] if known else simplest(fails, min(broken, key=_size))
        if outcome == "error":
            self._with_errors.append(found)
        return self._shown(found, task, verdicts)

    def _shown(self, example: Example, task: Task, searched: Mapping[Example, Verdict]) -> Smallest:
        name = task.check.name
        verdict = searched[example] if example in searched else self._tried[example].verdicts[name]
        search = [
            each.evaluations for tested, each in searched.items() if tested not in self._tried
        ]
        return Smallest(
            verdict=verdict,
            snippet=snippet(example, task.explainer, verdict, seed=self._seed),
            search=sum(search, Evaluations()),
        )

    def _outcome(self, example: Example, name: str) -> str:
        verdict = self._tried[example].verdicts.get(name)
        return "" if verdict is None else verdict.outcome


def _with_maps(result: NetworkResult, name: str) -> Verdict:
    """Return the verdict of a check that had the network for itself, with the cost of its maps."""
    verdict = result.verdicts[name]
    return replace(verdict, evaluations=verdict.evaluations + result.shared)


def _size(example: Example) -> tuple[int, int, int]:
    return example.size
