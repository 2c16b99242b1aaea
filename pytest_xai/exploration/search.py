"""Looks for the smallest network on which something holds, with hypothesis."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_xai.optional import require

if TYPE_CHECKING:
    from hypothesis import Phase

    from pytest_xai.exploration.example import Example

__all__ = ["smallest", "walk"]

# Tries at making a failing network smaller; each runs one check once.
_SHRINKS = 400


def walk(visit: Callable[["Example"], None], *, kinds: frozenset[str], networks: int) -> None:
    """Visit so many generated examples, always the same ones.

    Args:
        visit: called with each.
        kinds: of inputs: "table", "signal", "image", "volume".
        networks: how many.
    """

    def look(example: "Example") -> bool:
        visit(example)
        return False

    _find(look, kinds=kinds, networks=networks, phases=("generate",))


def smallest(
    fails: Callable[["Example"], bool], *, kinds: frozenset[str], networks: int
) -> "Example | None":
    """The smallest example that fails among those that `walk` visits and what they shrink to.

    Args:
        fails: whether an example does; asked at most once for each.
        kinds: as of `walk`.
        networks: as of `walk`.
    """
    known: dict[Example, bool] = {}
    shrinks = 0

    def look(example: "Example") -> bool:
        nonlocal shrinks
        if example in known:
            return known[example]
        if any(known.values()):
            shrinks += 1
            if shrinks > _SHRINKS:
                return False
        known[example] = fails(example)
        return known[example]

    return _find(look, kinds=kinds, networks=networks, phases=("generate", "shrink"))


def _find(
    look: Callable[["Example"], bool],
    *,
    kinds: frozenset[str],
    networks: int,
    phases: tuple[str, ...],
) -> "Example | None":
    hypothesis = require("hypothesis")
    from pytest_xai.exploration.example import examples

    chosen: list[Phase] = [hypothesis.Phase[phase] for phase in phases]
    settings = hypothesis.settings(
        max_examples=networks,
        # The networks follow from the strategy alone, not from a database or the clock. Without a
        # generator of its own the order would also depend on the function that looks at them.
        derandomize=True,
        database=None,
        deadline=None,
        phases=chosen,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    try:
        found: Example = hypothesis.find(
            examples(kinds),
            look,
            settings=settings,
            random=random.Random(0),  # noqa: S311  # nothing secret
        )
    except (hypothesis.errors.NoSuchExample, hypothesis.errors.Flaky):
        return None
    return found
