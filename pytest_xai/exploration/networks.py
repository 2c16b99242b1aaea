"""The field of generated networks: every structure alone, then random combinations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pytest_xai.exploration.example import Example
from pytest_xai.exploration.merge import SOMEWHERE, Smallest, merge, total
from pytest_xai.exploration.search import smallest, walk
from pytest_xai.exploration.snippet import snippet
from pytest_xai.exploration.trial import Purse, Trial, examine
from pytest_xai.exploration.wanted import Wanted
from pytest_xai.structures import STRUCTURES
from pytest_xai.verdict import Verdict

__all__ = ["NETWORKS", "on_networks"]

# Random networks that are tried where nobody says how many.
NETWORKS = 60
_FIELD = "networks"
_BROKEN = ("failed", "error")


def on_networks(
    wanted: Wanted, budgets: Mapping[str, int | None], *, networks: int = NETWORKS
) -> list[Verdict]:
    """One verdict for each check, with the smallest network on which it fails.

    Args:
        wanted: the explainer, and what is asked of it.
        budgets: model evaluations that each check may spend, by its name; None: no limit. The
            search for a smaller network may spend as much again.
        networks: how many random ones, beside those with one structure each.
    """
    purses = {name: Purse(budgets[name]) for name in wanted.checks}
    met: dict[Example, Trial] = {}

    def visit(example: Example) -> None:
        if example not in met:
            met[example] = _examine(example, wanted, list(wanted.checks), purses)

    for plan in STRUCTURES.values():
        visit(Example(plan=plan, images=2, zeros=False))
    walk(visit, kinds=_kinds(met), networks=networks)
    found = _Finder(wanted, met, networks=networks, budgets=budgets)
    trials = list(met.values())
    return [
        merge(name, _FIELD, trials, wanted, purses[name], found.smallest(name))
        for name in wanted.checks
    ]


def _examine(
    example: Example, wanted: Wanted, checks: Sequence[str], purses: Mapping[str, Purse]
) -> Trial:
    return replace(examine(example.subject(), wanted, checks, purses), label=example.label)


def _kinds(met: Mapping[Example, Trial]) -> frozenset[str]:
    """The kinds of inputs that the explainer took at least once."""
    taken = frozenset(example.plan.kind for example, trial in met.items() if not trial.refused)
    return taken or frozenset({"image"})


def _size(example: Example) -> tuple[int, int, int]:
    return example.size


class _Finder:
    """Looks for the smallest network on which a check fails."""

    def __init__(
        self,
        wanted: Wanted,
        met: Mapping[Example, Trial],
        *,
        networks: int,
        budgets: Mapping[str, int | None],
    ) -> None:
        self._wanted = wanted
        self._met = met
        self._networks = networks
        self._budgets = budgets

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
                trial = _examine(example, self._wanted, [name], purses)
                if name in trial.verdicts:
                    verdicts[example] = trial.verdicts[name]
            return example in verdicts and verdicts[example].outcome == outcome

        smallest(fails, kinds=_kinds(self._met), networks=self._networks)
        self._simplify(fails, min(there, key=_size))
        return self._shown(
            min((each for each in verdicts if fails(each)), key=_size), name, verdicts
        )

    def _shown(self, example: Example, name: str, tried: Mapping[Example, Verdict]) -> Smallest:
        verdict = tried[example] if example in tried else self._met[example].verdicts[name]
        verdict = replace(verdict, subject=example.label)
        search = [each.evaluations for tested, each in tried.items() if tested not in self._met]
        return Smallest(
            verdict=verdict,
            snippet=snippet(example, self._wanted, verdict),
            search=total(search),
        )

    def _simplify(self, fails: Callable[[Example], bool], example: Example) -> None:
        """Try fewer inputs and zeros as baseline: a lone structure was met as it is."""
        for images, zeros in ((1, True), (1, example.zeros), (example.images, True)):
            if fails(replace(example, images=images, zeros=zeros)):
                return

    def _outcome(self, example: Example, name: str) -> str:
        verdict = self._met[example].verdicts.get(name)
        return "" if verdict is None else verdict.outcome
