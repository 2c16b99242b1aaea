"""Runs the checks of an explainer on one small network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_xai.bench.bench import Bench
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.engine.exploration.cancelling import outputs_cancel
from pytest_xai.engine.exploration.check_budget import CheckBudget, expected_cost
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.errors import GuestError, InvalidArgument, InvalidAttribution, NotApplicable
from pytest_xai.protocol import NamedExplainer

__all__ = ["NetworkResult", "try_network"]

# Dimensions of a batch of images, the inputs that every explainer here must accept.
_IMAGES = 4
_CANCELS = "network skipped: its output is only rounding noise, because its terms cancel"


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkResult:
    """The verdicts of the checks on one network.

    Attributes:
        label: the network, in a few words.
        verdicts: by name of the check; checks whose budget was too small are missing.
        refused: why the explainer does not accept the network; empty if it does.
        shared: cost of the maps that all checks use, which is in no verdict.
    """

    label: str
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    refused: str = ""
    shared: Evaluations = field(default_factory=Evaluations)


def try_network(
    subject: Subject,
    tasks: Sequence[Task],
    budgets: Mapping[str, CheckBudget],
    *,
    seed: int,
    by_now: float = 1.0,
) -> NetworkResult:
    """Run the tasks whose budgets allow it on one subject.

    An explainer that says that it does not accept such a network, or that raises on inputs that
    are not images, is not at fault: it was asked for more than it promised.

    Args:
        subject: a small one: all its images are used at once, not in rounds.
        tasks: checks of one explainer.
        budgets: what each check may spend, and spends here, by its name.
        seed: of the run.
        by_now: share of each budget that may be spent after this network, from 0 to 1.
    """
    images = len(subject)
    # A map costs one evaluation or more; the first map on this network shows how many.
    if not any(
        budgets[task.check.name].affords(
            expected_cost(task.check.cost, images=images, per_map=1), by_now=by_now
        )
        for task in tasks
    ):
        return NetworkResult(label=subject.name)
    bench = Bench(subject, seed=seed)
    try:
        refused = _CANCELS if outputs_cancel(bench) else ""
        before = bench.counter.spent
        refused = refused or _refusal(bench, tasks[0].explainer)
        shared = bench.counter.spent
        if refused:
            return NetworkResult(label=subject.name, refused=refused, shared=shared)
        per_map = max(-(-(shared - before).model // images), 1)
        verdicts = {}
        for task in tasks:
            name, budget = task.check.name, budgets[task.check.name]
            expected = expected_cost(task.check.cost, images=images, per_map=per_map)
            if budget.affords(expected, by_now=by_now):
                verdicts[name] = run_check(bench, replace(task, budget=None))
                budget.spend(expected, verdicts[name].evaluations.model + shared.model)
        return NetworkResult(label=subject.name, verdicts=verdicts, shared=shared)
    finally:
        bench.close()


def _refusal(bench: Bench, explainer: NamedExplainer) -> str:
    """Return why the explainer does not accept such a network; empty if it does."""
    try:
        bench.maps(explainer)
    except (InvalidArgument, NotApplicable) as reason:
        return str(reason)
    except (GuestError, InvalidAttribution) as error:
        # Images must be explained: there the checks themselves meet the error. A map that is not
        # finite has nothing to do with the kind of inputs.
        finite = getattr(error, "problem", "") != "finite"
        if bench.inputs.ndim != _IMAGES and finite:
            return f"inputs that are not images: {str(error).splitlines()[0]}"
    return ""
