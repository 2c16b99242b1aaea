"""Which checks apply to an explainer, and how alpha and the budget are shared among them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_xai import checks as catalogue
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.protocol import Traits
from pytest_xai.registry import FAMILIES, Check

__all__ = ["SLOW", "Planned", "applying", "require_budget", "select", "share_alpha", "share_budget"]

# The mark of checks that take minutes, and the word that selects them all.
SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Planned:
    """A check that applies to an explainer, and whether its failure fails the run."""

    check: Check
    asserted: bool


def select(
    traits: Traits,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    probes: bool = False,
) -> list[Planned]:
    """The checks that apply to an explainer of these traits; no model is run.

    Universal checks and quality checks apply to all, claimed properties to those that claim
    them. A property that is asked for by its own name but not claimed is measured, not asserted.
    Checks for probes, whose right maps are known, run where there are probes or where their own
    name asks for them, and are asserted there. Checks marked slow run where they are
    claimed, or where their own name, or the word "slow", asks for them.

    Args:
        traits: of the explainer.
        select: names of checks or families, or "slow"; none: all but the slow ones.
        ignore: names of checks or families, or "slow", to leave out.
        probes: there are probes, on which to run what is made for them.

    Raises:
        UnknownName: a name is neither a check nor a family, or a claim is no check.
    """
    table = catalogue.all()
    _require_known(traits, [*select, *ignore], [check.name for check in table])
    planned = []
    for check in table:
        left_out = SLOW in check.marks and check.name not in traits.claims
        group = SLOW if left_out else check.family
        wanted = check.name in select or group in select or (not select and group != SLOW)
        if not wanted or {check.name, check.family, *check.marks} & set(ignore):
            continue
        if check.scope == "probe" and check.name not in select and not probes:
            continue
        asserted = check.scope != "claimed" or check.name in traits.claims
        if asserted or check.name in select:
            planned.append(Planned(check, asserted))
    return planned


def applying(traits: Traits) -> list[Planned]:
    """All checks that apply to an explainer of these traits, the slow ones as well.

    Raises:
        UnknownName: a claim is no check.
    """
    return list(dict.fromkeys([*select(traits), *select(traits, select=[SLOW])]))


def _require_known(traits: Traits, words: Sequence[str], names: Sequence[str]) -> None:
    known = [*FAMILIES, SLOW, *names]
    for word in words:
        if word not in known:
            raise UnknownName.among("check or family", word, known)
    for claim in sorted(traits.claims):
        if claim not in names:
            raise UnknownName.among("claim", claim, names)


def share_alpha(alpha: float, planned: Iterable[Planned]) -> float:
    """The level of one sampled verdict: alpha over the number of asserted ones (Bonferroni).

    So each verdict's capital has to reach that number of times what it would have to alone. This
    bounds the probability of any wrong one, whatever the verdicts of a run have to do with each
    other, and they have much: they share images, maps and attacks.

    Raises:
        InvalidArgument: alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise InvalidArgument.of("alpha", got=alpha, expected="between 0 and 1")
    sampled = sum(1 for item in planned if item.asserted and item.check.judged != "exact")
    return alpha / max(sampled, 1)


def share_budget(
    budget: int | None, planned: Sequence[Planned], *, per_map: int = 1
) -> list[int | None]:
    """Split a run's budget of model evaluations in proportion to the declared cost.

    What a check leaves of its share is not handed on: its neighbours' verdicts would depend on who
    ran before them, in which process, and on what was selected.

    Args:
        budget: of the run; None: no bound.
        planned: all checks of the run.
        per_map: evaluations that a map is taken to cost, beside those of the checks themselves.

    Returns:
        A share for each, rounded down; together at most the budget.

    Raises:
        InvalidArgument: the budget is no integer, or negative.
    """
    require_budget(budget)
    if budget is None:
        return [None] * len(planned)
    weights = [
        item.check.cost.least + (per_map - 1) * item.check.cost.explainer_calls for item in planned
    ]
    return [budget * weight // max(sum(weights), 1) for weight in weights]


def require_budget(budget: int | None) -> None:
    """Refuse what is no number of evaluations.

    Raises:
        InvalidArgument: the budget is no integer, or negative.
    """
    if budget is None:
        return
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 0:
        expected = "a number of evaluations >= 0"
        raise InvalidArgument.of("budget", got=repr(budget), expected=expected)
