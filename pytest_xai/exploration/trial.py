"""One small network, and what an explainer's checks say on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_xai.bench import Bench
from pytest_xai.errors import GuestError, InvalidArgument, InvalidAttribution, NotApplicable
from pytest_xai.exploration.wanted import Wanted
from pytest_xai.judge import Assignment, judge
from pytest_xai.subject import Subject
from pytest_xai.verdict import Evaluations, Verdict

__all__ = ["Purse", "Trial", "examine"]

# Dimensions of a batch of images, the inputs that every explainer here must take.
_IMAGES = 4
# The float64 copy of a check, should it come to that, costs as much again.
_WITH_ARBITRATION = 2


@dataclass(slots=True)
class Purse:
    """Model evaluations that one check may spend, and what it has spent of them."""

    budget: int | None
    spent: int = 0

    def holds(self, cost: int) -> bool:
        """Whether so many are left; always without a budget."""
        return self.budget is None or self.spent + cost <= self.budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What the checks said on one network.

    Attributes:
        label: the network, in a few words.
        verdicts: by name of the check; those whose purse was empty are not there.
        refused: why the explainer takes no such network; empty: it does.
    """

    label: str
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    refused: str = ""


def examine(
    subject: Subject, wanted: Wanted, checks: Sequence[str], purses: Mapping[str, Purse]
) -> Trial:
    """Run checks on one subject.

    An explainer that says that it takes no such network, or that raises on inputs that are no
    images, is not at fault: it was asked for more than it promised.

    Args:
        subject: small: nothing is looked at in rounds.
        wanted: the explainer and what is asked of it.
        checks: names of those checks to run.
        purses: what each of them may spend, and here spends.
    """
    bench = Bench(subject, seed=wanted.seed)
    try:
        return _examined(bench, wanted, checks, purses)
    finally:
        bench.close()


def _examined(
    bench: Bench, wanted: Wanted, checks: Sequence[str], purses: Mapping[str, Purse]
) -> Trial:
    label, verdicts = bench.subject.name, dict[str, Verdict]()
    try:
        bench.maps(wanted.explainer)
    except (InvalidArgument, NotApplicable) as reason:
        return Trial(label=label, refused=str(reason))
    except (GuestError, InvalidAttribution) as error:
        # Images must be explained: there the checks themselves come upon the error.
        if bench.inputs.ndim != _IMAGES:
            return Trial(label=label, refused=f"{_kind(bench)}: {str(error).splitlines()[0]}")
    per_map = -(-bench.counter.spent.model // len(bench))
    # The maps above are the first check's: they are shared, and somebody has to pay for them.
    before = Evaluations()
    for name in checks:
        cost = wanted.checks[name].cost
        own = cost.forward + cost.backward + cost.explainer_calls * max(per_map, 1)
        if not purses[name].holds(own * len(bench) * _WITH_ARBITRATION):
            continue
        verdict = judge(bench, wanted.explainer, _assignment(wanted, name))
        spent, before = bench.counter.spent - before, bench.counter.spent
        verdicts[name] = replace(verdict, evaluations=spent)
        purses[name].spent += spent.model
    return Trial(label=label, verdicts=verdicts)


def _assignment(wanted: Wanted, name: str) -> Assignment:
    return Assignment(check=wanted.checks[name], asserted=True, reproduce=wanted.reproduce(name))


def _kind(bench: Bench) -> str:
    return f"inputs of shape {tuple(bench.inputs.shape[1:])}, which are no images"
