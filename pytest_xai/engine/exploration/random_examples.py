"""Walks through generated examples, with the strategies that tests of users take."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_xai.engine.exploration.example import Example

__all__ = ["walk"]

# More than any example draws: what is left over is not looked at.
_BYTES = 2048


def walk(visit: Callable[["Example"], None], *, kinds: frozenset[str], networks: int) -> None:
    """Visit generated examples, always the same ones.

    Args:
        visit: called with each; one may come twice.
        kinds: of inputs: "table", "signal", "image", "volume".
        networks: how many.
    """
    # Here, so that pytest starts as fast as before: hypothesis takes longer to import than it.
    import hypothesis

    from pytest_xai.engine.exploration.example import examples

    @hypothesis.settings(
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(examples(kinds))
    def look(example: "Example") -> None:
        visit(example)

    # Left to itself, even derandomised, hypothesis also draws numbers that it found in the source
    # of whatever modules are loaded, and keeps these in a folder where the process runs.
    generator = random.Random(0)  # noqa: S311  # nothing secret
    once = look.hypothesis.fuzz_one_input  # type: ignore[attr-defined]  # the decorator sets it
    for _ in range(networks):
        once(generator.randbytes(_BYTES))
