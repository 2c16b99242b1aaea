"""One small network, and what an explainer's checks say on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_xai.bench.bench import Bench
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.engine.exploration.cancelling import outputs_cancel
from pytest_xai.engine.exploration.check_budget import Purse, price
from pytest_xai.engine.exploration.exploration_task import Wanted
from pytest_xai.engine.run_check import Assignment, judge
from pytest_xai.errors import GuestError, InvalidArgument, InvalidAttribution, NotApplicable

__all__ = ["Trial", "examine"]

# Dimensions of a batch of images, the inputs that every explainer here must take.
_IMAGES = 4
_CANCELS = "an output is what rounding leaves of a sum that cancels"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What the checks said on one network.

    Attributes:
        label: the network, in a few words.
        verdicts: by name of the check; those whose purse was empty are not there.
        refused: why the explainer takes no such network; empty: it does.
        shared: what the maps cost that all checks look at, which is in no verdict.
    """

    label: str
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    refused: str = ""
    shared: Evaluations = field(default_factory=Evaluations)


def examine(
    subject: Subject,
    wanted: Wanted,
    purses: Mapping[str, Purse],
    *,
    by_now: float = 1.0,
) -> Trial:
    """Run the checks that can pay for it on one subject.

    An explainer that says that it takes no such network, or that raises on inputs that are no
    images, is not at fault: it was asked for more than it promised.

    Args:
        subject: small: nothing is looked at in rounds.
        wanted: the explainer and what is asked of it.
        purses: what each check may spend, and here spends, by its name.
        by_now: share of each purse that may be gone after this.
    """
    images = len(subject)
    costs = {name: wanted.checks[name].cost for name in purses}
    # A map costs one evaluation or more; how many, its first one on this network will show.
    if not any(
        purse.holds(price(costs[name], images=images, per_map=1), by_now=by_now)
        for name, purse in purses.items()
    ):
        return Trial(label=subject.name)
    bench = Bench(subject, seed=wanted.seed)
    try:
        refused = _CANCELS if outputs_cancel(bench) else ""
        before = bench.counter.spent
        refused = refused or _refusal(bench, wanted)
        shared = bench.counter.spent
        if refused:
            return Trial(label=subject.name, refused=refused, shared=shared)
        per_map = max(-(-(shared - before).model // images), 1)
        verdicts = {}
        for name, purse in purses.items():
            expected = price(costs[name], images=images, per_map=per_map)
            if purse.holds(expected, by_now=by_now):
                verdicts[name] = judge(bench, wanted.explainer, _assignment(wanted, name))
                purse.pay(expected, verdicts[name].evaluations.model + shared.model)
        return Trial(label=subject.name, verdicts=verdicts, shared=shared)
    finally:
        bench.close()


def _refusal(bench: Bench, wanted: Wanted) -> str:
    """Why the explainer takes no such network; empty: it does."""
    try:
        bench.maps(wanted.explainer)
    except (InvalidArgument, NotApplicable) as reason:
        return str(reason)
    except (GuestError, InvalidAttribution) as error:
        # Images must be explained: there the checks themselves come upon the error. That a map is
        # not finite has nothing to do with what the inputs are.
        finite = getattr(error, "problem", "") != "finite"
        if bench.inputs.ndim != _IMAGES and finite:
            return f"inputs that are no images: {str(error).splitlines()[0]}"
    return ""


def _assignment(wanted: Wanted, name: str) -> Assignment:
    return Assignment(check=wanted.checks[name], asserted=True)
