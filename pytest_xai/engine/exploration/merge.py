"""Makes one verdict of a check from its verdicts on many networks."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.engine.exploration.one_network import NetworkResult
from pytest_xai.engine.task import Task

__all__ = ["ONE_PASS_SUFFICES", "Smallest", "merge"]

# Properties that a single network may lack for good reasons: with the same weights for two classes
# their maps are the same. An explainer that has the property shows it on some network.
ONE_PASS_SUFFICES = frozenset({"target_sensitive"})
# At most this many reasons of the same kind are worth reading.
_REASONS = 2
_NUMBER = re.compile(r"\d[\d.,e+-]*")
_END = re.compile(r"\.\s|\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class Smallest:
    """The smallest network on which a check fails.

    Attributes:
        verdict: of the check on it.
        snippet: Python that builds it and shows the failure.
        search: evaluations that the search for it took.
    """

    verdict: Verdict
    snippet: str
    search: Evaluations


def merge(
    task: Task,
    collection: str,
    results: Sequence[NetworkResult],
    *,
    payer: bool,
    smallest: Smallest | None = None,
) -> Verdict:
    """Return the verdict of a check on all networks of a collection.

    It is failed or error if it is on any of them; it is passed if it is on some and does not apply
    to, or does not decide, the others.

    Args:
        task: the check and the explainer.
        collection: the name of the networks in reports: the subject of the verdict.
        results: one for each network.
        payer: whether the cost of what all checks use is counted in this verdict.
        smallest: the smallest network on which the check fails.
    """
    name = task.check.name
    verdicts = [result.verdicts[name] for result in results if name in result.verdicts]
    by_outcome = Counter(verdict.outcome for verdict in verdicts)
    outcome = _outcome(name, results, by_outcome)
    chosen = _worst([each for each in verdicts if each.outcome == outcome])
    if smallest is not None:
        chosen = smallest.verdict
    base = chosen or task.verdict("not_applicable")
    spent = [each.evaluations for each in verdicts] + ([smallest.search] if smallest else [])
    if payer:
        spent += [result.shared for result in results]
    counted = _counted(outcome, verdicts, len(results))
    reasons = _reasons(task, results)
    broken = outcome in {"failed", "error"}
    return replace(
        base,
        subject=collection,
        outcome=outcome,
        images=sum(each.images for each in verdicts),
        seconds=sum(each.seconds for each in verdicts),
        evaluations=sum(spent, Evaluations()),
        summary=base.summary if broken else counted,
        cause=base.cause if broken else "",
        notes=(*base.notes, counted, *reasons) if broken else tuple(reasons),
        counterexample=_counterexample(base, smallest),
        reproduce=task.reproduce,
    )


def _outcome(name: str, results: Sequence[NetworkResult], by_outcome: Counter[str]) -> str:
    order = ("failed", "error", "passed")
    if name in ONE_PASS_SUFFICES:
        order = ("error", "passed", "failed")
    for outcome in (*order, "undecided"):
        if by_outcome[outcome]:
            return outcome
    # The networks that were not tried might have been applicable.
    return "undecided" if _untried(name, results) else "not_applicable"


def _worst(verdicts: Sequence[Verdict]) -> Verdict | None:
    """Return the verdict whose figure is furthest beyond its limit, or nearest to it."""

    def excess(verdict: Verdict) -> float:
        if verdict.figure is None or verdict.limit is None:
            return -math.inf
        scale = abs(verdict.limit) if verdict.limit and math.isfinite(verdict.limit) else 1.0
        sign = 1.0 if verdict.direction == "<=" else -1.0
        difference = sign * (verdict.figure - verdict.limit) / scale
        return -math.inf if math.isnan(difference) else difference

    return max(verdicts, key=excess) if verdicts else None


def _counted(outcome: str, verdicts: Sequence[Verdict], networks: int) -> str:
    """Say on how many networks the outcome is this one."""
    same = sum(each.outcome == outcome for each in verdicts)
    tried = sum(each.outcome != "not_applicable" for each in verdicts)
    if outcome == "passed":
        return f"The check passes on {same} of {_networks(networks)}."
    if outcome == "failed":
        return f"The check fails on {same} of {_networks(tried)} that it was tried on."
    if outcome == "error":
        return f"The same outcome occurred on {same} of {_networks(tried)} that it was tried on."
    if outcome == "undecided":
        return f"The check is decided on none of {_networks(networks)}."
    return f"The check applies to none of {_networks(networks)}."


def _reasons(task: Task, results: Sequence[NetworkResult]) -> list[str]:
    """Return the commonest reasons why networks were left out, and what the budget left out."""
    name = task.check.name
    skipped: Counter[str] = Counter()
    words: dict[str, str] = {}
    for result in results:
        verdict = result.verdicts.get(name)
        reason = result.refused
        if verdict is not None and verdict.outcome == "not_applicable":
            reason = verdict.summary
        if reason:
            brief = _brief(reason)
            # Reasons that differ in their numbers alone are one reason.
            kind = _NUMBER.sub("", brief)
            words.setdefault(kind, brief)
            skipped[kind] += 1
    found = [
        f"{_networks(count)} left out: {words[kind]}."
        for kind, count in skipped.most_common(_REASONS)
    ]
    if untried := _untried(name, results):
        found.append(
            f"The budget of {task.budget:,} evaluations is too small for {_networks(untried)}."
        )
    return found


def _brief(reason: str) -> str:
    """Return the first sentence, without its full stop."""
    return _END.split(reason.strip(), maxsplit=1)[0].rstrip(".")


def _untried(name: str, results: Sequence[NetworkResult]) -> int:
    return sum(not result.refused and name not in result.verdicts for result in results)


def _networks(count: int) -> str:
    return "1 network" if count == 1 else f"{count} networks"


def _counterexample(base: Verdict, smallest: Smallest | None) -> dict[str, object] | None:
    if smallest is None:
        return base.counterexample
    given = base.counterexample or {"image": 0}
    return {**given, "network": smallest.verdict.subject, "snippet": smallest.snippet}
