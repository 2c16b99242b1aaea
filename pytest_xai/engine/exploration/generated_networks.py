"""The collection "networks": every structure alone, then random combinations of structures."""

import random
from collections.abc import Callable, Mapping, Sequence

from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.check_budget import CheckBudget
from pytest_xai.engine.exploration.example import Example, examples
from pytest_xai.engine.exploration.merge import merge
from pytest_xai.engine.exploration.one_network import NetworkResult, try_network
from pytest_xai.engine.exploration.smallest_failure import SmallestFailure
from pytest_xai.engine.task import Task
from pytest_xai.networks import STRUCTURES

__all__ = ["NETWORKS", "on_networks", "visit_random_examples"]

# Number of random networks, unless the caller says otherwise.
NETWORKS = 30
# More bytes than any example draws; the rest is not read.
_BYTES = 2048


def on_networks(
    tasks: Sequence[Task], seed: int = 0, *, networks: int | None = None
) -> list[Verdict]:
    """Return one verdict for each task, with the smallest network on which it fails.

    Args:
        tasks: exact checks of one explainer, each with its budget. The search for a smaller
            network may spend as much again.
        seed: of the run.
        networks: number of random networks, beside those with one structure each; None means
            `NETWORKS`.
    """
    networks = NETWORKS if networks is None else networks
    budgets = {task.check.name: CheckBudget(task.budget) for task in tasks}
    tried: dict[Example, NetworkResult] = {}

    def visit(example: Example) -> None:
        if example not in tried:
            by_now = min(1.0, (len(tried) + 1) / (len(STRUCTURES) + networks))
            tried[example] = try_network(
                example.subject(), tasks, budgets, seed=seed, by_now=by_now
            )

    for plan in STRUCTURES.values():
        visit(Example(plan=plan, images=2, zeros=False))
    visit_random_examples(visit, kinds=_kinds(tried), networks=networks)
    search = SmallestFailure(tried, seed=seed)
    results = list(tried.values())
    return [
        merge(task, "networks", results, payer=task is tasks[0], smallest=search.of(task))
        for task in tasks
    ]


def visit_random_examples(
    visit: Callable[[Example], None], *, kinds: frozenset[str], networks: int
) -> None:
    """Visit random examples, always the same ones.

    Args:
        visit: called with each example; an example may come twice.
        kinds: of inputs: "table", "signal", "image", "volume".
        networks: number of examples.
    """
    # Imported here, because hypothesis takes longer to import than pytest takes to start.
    import hypothesis

    @hypothesis.settings(
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(examples(kinds))
    def look(example: Example) -> None:
        visit(example)

    # Left to itself, even derandomised, hypothesis also draws numbers that it found in the source
    # of the modules that are loaded, and stores them in a folder where the process runs.
    generator = random.Random(0)  # noqa: S311  # nothing secret
    once = look.hypothesis.fuzz_one_input  # type: ignore[attr-defined]  # the decorator sets it
    for _ in range(networks):
        once(generator.randbytes(_BYTES))


def _kinds(tried: Mapping[Example, NetworkResult]) -> frozenset[str]:
    """Return the kinds of inputs that the explainer accepted at least once."""
    accepted = frozenset(
        example.plan.kind for example, result in tried.items() if not result.refused
    )
    return accepted or frozenset({"image"})
