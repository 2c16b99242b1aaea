"""The description of a run: what it was asked for, and what was planned and spent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Run", "Terminal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminal:
    """The terminal that a run writes to.

    Attributes:
        width: its columns.
        colour: whether it shows ANSI colours.
        verbosity: that of pytest: below 0 is quiet, above 0 is detailed.
    """

    width: int = 80
    colour: bool = False
    verbosity: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What holds for a whole run; every reporter gets it beside the verdicts.

    Attributes:
        seed: every random number of the run follows from it, 0 to 2**63 - 1.
        alpha: probability that any sampled verdict of the run is wrong, between 0 and 1; it is
            shared by all sampled verdicts.
        budget: largest number of model evaluations of the run; None means no limit.
        undecided: what an undecided verdict does to the run: "fail", "warn" or "pass".
        device: where subjects run; None means where their inputs are.
        demo: whether the bundled subject and part of the gallery were checked.
        gallery: whether the whole gallery was checked on all bundled subjects.
        select: families or names of checks that were selected; empty means all.
        ignore: families or names of checks that were left out.
        subjects: number of registered subjects.
        explainers: number of registered explainers.
        planned: number of planned checks.
        selected: number of planned checks that pytest did not deselect.
        spent: model evaluations of the planned checks.
        shares: budget of each planned check by its id; empty without a budget.
        checks: names of all checks in the order of the registry.
        terminal: where the run is shown.
    """

    seed: int = 0
    alpha: float = 0.001
    budget: int | None = None
    undecided: str = "warn"
    device: str | None = None
    demo: bool = False
    gallery: bool = False
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    subjects: int = 0
    explainers: int = 0
    planned: int = 0
    selected: int = 0
    spent: int = 0
    shares: Mapping[str, int] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    terminal: Terminal = Terminal()
