"""One verdict for a check from what it said on many networks."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_xai.exploration.trial import Purse, Trial
from pytest_xai.exploration.wanted import Wanted
from pytest_xai.verdict import Evaluations, Verdict

__all__ = ["SOMEWHERE", "Smallest", "merge", "total"]

# Properties that a single network may lack for good reasons: with the same weights for two classes
# their maps are the same. Who has them shows it somewhere; who lacks them shows it nowhere.
SOMEWHERE = frozenset({"target_sensitive"})
# Reasons of the same kind that are worth reading.
_REASONS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Smallest:
    """The smallest network on which a check fails.

    Attributes:
        verdict: of the check on it.
        snippet: Python that builds it and shows the failure.
        search: what it took to find.
    """

    verdict: Verdict
    snippet: str
    search: Evaluations


def merge(
    name: str,
    field: str,
    trials: Sequence[Trial],
    wanted: Wanted,
    purse: Purse,
    smallest: Smallest | None,
) -> Verdict:
    """The verdict of a check on all networks of a field.

    Failed or in error where it is on any of them; passed where it passed on some and the others
    have nothing to say.

    Args:
        name: of the check.
        field: how reports call these networks: the subject of the verdict.
        trials: one for each network.
        wanted: the explainer, and what is asked of it.
        purse: what the check might spend.
        smallest: where it fails, and how to see it.
    """
    verdicts = [trial.verdicts[name] for trial in trials if name in trial.verdicts]
    by_outcome = Counter(verdict.outcome for verdict in verdicts)
    order = ("error", "passed", "failed") if name in SOMEWHERE else ("failed", "error", "passed")
    outcome = next(
        (each for each in (*order, "undecided") if by_outcome[each]),
        "undecided" if len(verdicts) < len(trials) and not _refusals(trials) else "not_applicable",
    )
    chosen = _worst([each for each in verdicts if each.outcome == outcome])
    if smallest is not None:
        chosen = smallest.verdict
    base = chosen or _empty(name, wanted)
    reasons = [base.reason if outcome in {"failed", "error"} else ""]
    reasons.append(_counted(name, outcome, trials, by_outcome))
    reasons += _why_not(name, trials)
    if len(verdicts) + len(_refusals(trials)) < len(trials):
        reasons.append(f"The budget of {purse.budget:,} evaluations does not hold the others.")
    return replace(
        base,
        subject=field,
        outcome=outcome,
        images=sum(each.images for each in verdicts),
        seconds=sum(each.seconds for each in verdicts),
        evaluations=total(
            [each.evaluations for each in verdicts] + ([smallest.search] if smallest else [])
        ),
        reason=" ".join(reason for reason in reasons if reason),
        counterexample=_counterexample(base, smallest),
    )


def _worst(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The one whose figure is furthest beyond its limit, or nearest to it."""

    def excess(verdict: Verdict) -> float:
        if verdict.figure is None or verdict.limit is None:
            return -math.inf
        scale = abs(verdict.limit) if verdict.limit and math.isfinite(verdict.limit) else 1.0
        sign = 1.0 if verdict.direction == "<=" else -1.0
        difference = sign * (verdict.figure - verdict.limit) / scale
        return -math.inf if math.isnan(difference) else difference

    return max(verdicts, key=excess) if verdicts else None


def _empty(name: str, wanted: Wanted) -> Verdict:
    check = wanted.checks[name]
    return Verdict(
        subject="",
        explainer=wanted.explainer.name,
        check=name,
        family=check.family,
        asserted=True,
        direction=check.direction,
        outcome="not_applicable",
        seed=wanted.seed,
        reproduce=wanted.reproduce(name),
    )


def _counted(name: str, outcome: str, trials: Sequence[Trial], by_outcome: Counter[str]) -> str:
    tried = sum(by_outcome.values()) - by_outcome["not_applicable"]
    if outcome == "passed":
        return f"Held on {by_outcome['passed']} of {len(trials)} networks."
    if outcome in {"failed", "error"}:
        word = "Fails" if outcome == "failed" else "Raises"
        return f"{word} on {by_outcome[outcome]} of the {tried} networks that it was tried on."
    if outcome == "undecided":
        return f"None of {len(trials)} networks decides it."
    return f"None of {len(trials)} networks is one that {name} applies to."


def _why_not(name: str, trials: Sequence[Trial]) -> list[str]:
    """The commonest reasons why a network had nothing to say."""
    silent = Counter(trial.refused for trial in _refusals(trials))
    for trial in trials:
        verdict = trial.verdicts.get(name)
        if verdict is not None and verdict.outcome == "not_applicable":
            silent[verdict.reason] += 1
    return [f"{count} left out: {reason}." for reason, count in silent.most_common(_REASONS)]


def _refusals(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.refused]


def total(parts: Sequence[Evaluations]) -> Evaluations:
    """The sum of what was spent."""
    return Evaluations(
        forward=sum(each.forward for each in parts),
        backward=sum(each.backward for each in parts),
        explainer_calls=sum(each.explainer_calls for each in parts),
    )


def _counterexample(base: Verdict, smallest: Smallest | None) -> dict[str, object] | None:
    if smallest is None:
        return base.counterexample
    given = base.counterexample or {"image": 0}
    return {**given, "network": smallest.verdict.subject, "snippet": smallest.snippet}
