"""One verdict for a check from what it said on many networks."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.engine.exploration.check_budget import Purse
from pytest_xai.engine.exploration.exploration_task import Wanted
from pytest_xai.engine.exploration.one_network import Trial

__all__ = ["SOMEWHERE", "Smallest", "merge", "total"]

# Properties that a single network may lack for good reasons: with the same weights for two classes
# their maps are the same. Who has them shows it somewhere; who lacks them shows it nowhere.
SOMEWHERE = frozenset({"target_sensitive"})
# Reasons of the same kind that are worth reading.
_REASONS = 2
_NUMBER = re.compile(r"\d[\d.,e+-]*")
_END = re.compile(r"\.\s|\n")


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
    outcome = _outcome(name, trials, by_outcome)
    chosen = _worst([each for each in verdicts if each.outcome == outcome])
    if smallest is not None:
        chosen = smallest.verdict
    base = chosen or _empty(name, wanted)
    spent = [each.evaluations for each in verdicts] + ([smallest.search] if smallest else [])
    if name == next(iter(wanted.checks)):
        # Somebody has to pay for what all look at.
        spent += [trial.shared for trial in trials]
    return replace(
        base,
        subject=field,
        outcome=outcome,
        images=sum(each.images for each in verdicts),
        seconds=sum(each.seconds for each in verdicts),
        evaluations=total(spent),
        reason=_reason(name, base, outcome, trials, purse),
        counterexample=_counterexample(base, smallest),
    )


def _outcome(name: str, trials: Sequence[Trial], by_outcome: Counter[str]) -> str:
    order = ("error", "passed", "failed") if name in SOMEWHERE else ("failed", "error", "passed")
    for outcome in (*order, "undecided"):
        if by_outcome[outcome]:
            return outcome
    # That the others do not apply says nothing of those that were not tried.
    return "undecided" if _untried(name, trials) else "not_applicable"


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
    )


def _reason(name: str, base: Verdict, outcome: str, trials: Sequence[Trial], purse: Purse) -> str:
    verdicts = [trial.verdicts[name] for trial in trials if name in trial.verdicts]
    there = sum(each.outcome == outcome for each in verdicts)
    tried = sum(each.outcome != "not_applicable" for each in verdicts)
    sentences = [base.reason if outcome in {"failed", "error"} else ""]
    if outcome == "passed":
        sentences.append(f"Held on {there} of {_count(len(trials))}.")
    elif outcome == "failed":
        sentences.append(f"Fails on {there} of the {_count(tried)} that it was tried on.")
    elif outcome == "error":
        sentences.append(f"So it is on {there} of the {_count(tried)} that it was tried on.")
    elif outcome == "undecided":
        sentences.append(f"None of {_count(len(trials))} decides it.")
    else:
        sentences.append(f"Applies to none of {_count(len(trials))}.")
    sentences += _why_not(name, trials)
    if untried := _untried(name, trials):
        sentences.append(f"The budget of {purse.budget:,} evaluations leaves out {untried}.")
    first, *rest = [sentence for sentence in sentences if sentence]
    # What a guest said may have many lines, the first of which is a summary.
    head, newline, tail = first.partition("\n")
    head = head.strip() + ("" if head.rstrip().endswith((".", "!", "?")) else ".")
    return " ".join([head, *rest]) + newline + tail


def _why_not(name: str, trials: Sequence[Trial]) -> list[str]:
    """The commonest reasons why a network had nothing to say."""
    silent: Counter[str] = Counter()
    words: dict[str, str] = {}
    for trial in trials:
        verdict = trial.verdicts.get(name)
        reason = trial.refused
        if verdict is not None and verdict.outcome == "not_applicable":
            reason = verdict.reason
        if reason:
            brief = _brief(reason)
            # One reason, whatever the numbers in it.
            kind = _NUMBER.sub("", brief)
            words.setdefault(kind, brief)
            silent[kind] += 1
    return [f"{count} left out: {words[kind]}." for kind, count in silent.most_common(_REASONS)]


def _brief(reason: str) -> str:
    """The first sentence, without its full stop."""
    return _END.split(reason.strip(), maxsplit=1)[0].rstrip(".")


def _untried(name: str, trials: Sequence[Trial]) -> int:
    return sum(not trial.refused and name not in trial.verdicts for trial in trials)


def _count(networks: int) -> str:
    return "1 network" if networks == 1 else f"{networks} networks"


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
