"""Runs the asserted checks on wrong explainers, and lists the checks that fail each of them.

    python -m studies.who_catches_whom [--write docs/evidence/who-catches-whom.md]

Prints two tables in Markdown: the explainers with a defect that libraries have shipped
(fixtures/wrong/shipped), and those that were made for one check each (the other tables of
fixtures/wrong). The tests compare the page with the verdicts (tests/test_wrong_explainers.py).
"""

import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from fixtures.controls import WRONG
from fixtures.wrong.shipped import RIGHT, SHIPPED
from fixtures.wrong.subjects import subject_of
from pytest_xai import checks
from pytest_xai.core.run import Run
from pytest_xai.core.subject import Subject
from pytest_xai.engine.check_explainer import on_collection, on_subject
from pytest_xai.engine.exploration.example import Example
from pytest_xai.engine.selection import select
from pytest_xai.engine.task import Task
from pytest_xai.networks import STRUCTURES
from pytest_xai.protocol import NamedExplainer, named
from studies.page import page_asked_for, print_or_write

__all__ = ["PLACES", "Case", "cases", "caught", "missed", "rights", "rows_of", "tables"]

_IMAGES = 4
_MANY = 128
_RUN = Run(alpha=0.05)
# What digits lack: two channels, a module that runs twice, batch norms, dropout, windows that
# overlap. A single network may lack a difference between its classes.
_NETWORKS = ("relu-used-twice", "max-pool-overlapping", "batch-norm", "dropout", "channels-last")
_NOT_ON_ONE = frozenset({"target_sensitive"})
PLACES = ("digits", "probes", "networks", "own subject")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One explainer, and where it is looked at.

    Attributes:
        explainer: with the claims of its right version.
        check: one that it was made for, run on its own subject; empty: it was made for none.
        subject: the name of that subject.
        uncaught: why no check catches it; empty: one does.
    """

    explainer: NamedExplainer
    check: str = ""
    subject: str = ""
    uncaught: str = ""


def cases() -> dict[str, Case]:
    """All wrong explainers by name, those that libraries have shipped first."""
    shipped = {
        name: Case(explainer=named(wrong.explainer, name=name), uncaught=wrong.uncaught)
        for name, wrong in SHIPPED.items()
    }
    made = {
        name: Case(
            explainer=_claiming(named(wrong.explainer, name=name), wrong.check),
            check=wrong.check,
            subject=wrong.subject,
        )
        for name, wrong in WRONG.items()
    }
    assert not shipped.keys() & made.keys(), "two wrong explainers of one name"
    return {**shipped, **made}


def rights() -> dict[str, Case]:
    """The same code with every part right: nothing may catch these."""
    return {name: Case(explainer=named(right, name=name)) for name, right in RIGHT.items()}


def _claiming(explainer: NamedExplainer, check: str) -> NamedExplainer:
    """The explainer, claiming the property that it was made to break."""
    if checks.get(check).scope != "claimed":
        return explainer
    claims = explainer.traits.claims | {check}
    return replace(explainer, traits=replace(explainer.traits, claims=claims))


def caught(case: Case) -> dict[str, tuple[str, ...]]:
    """The asserted checks that fail an explainer, by the place where they do.

    Args:
        case: the explainer. Checks judged by single images run on a few digits; then either
            `Case.check` on its own subject, or the closed forms on the probes. Networks are asked
            where nothing has failed yet.
    """
    tasks = [
        task
        for task in select(case.explainer, probes=True)
        if task.asserted and task.check.judged == "exact" and not task.check.marks
    ]
    single = [task for task in tasks if task.check.scope != "probe"]
    truths = [task for task in tasks if task.check.scope == "probe"]
    found: dict[str, tuple[str, ...]] = dict.fromkeys(PLACES, ())
    found["digits"] = _failed(subject_of("digits", _IMAGES), single)
    if case.check:
        own = [Task(check=checks.get(case.check), explainer=case.explainer, asserted=True)]
        found["own subject"] = _failed(subject_of(case.subject, _MANY), own)
        return found
    known = on_collection("probes", truths, _RUN)
    found["probes"] = _names(verdict.check for verdict in known if verdict.outcome == "failed")
    for structure in _NETWORKS if missed(found) else ():
        subject = Example(plan=STRUCTURES[structure], images=2, zeros=False).subject()
        left = [task for task in single if task.check.name not in _NOT_ON_ONE]
        found["networks"] = _names([*found["networks"], *_failed(subject, left)])
    return found


def _failed(subject: Subject, tasks: Sequence[Task]) -> tuple[str, ...]:
    verdicts = on_subject(subject, tasks, _RUN)
    return _names(verdict.check for verdict in verdicts if verdict.outcome == "failed")


def _names(failed: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(failed))


def missed(found: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether no check caught it anywhere."""
    return not any(found.values())


# --------------------------------------------------------------------------------------------- page


def _cell(failed: Sequence[str]) -> str:
    return " ".join(f"`{name}`" for name in failed)


def _places(case: Case) -> tuple[str, ...]:
    """Where it is looked at."""
    return ("digits", "own subject") if case.check else ("digits", "probes", "networks")


def _row(name: str, case: Case, found: Mapping[str, tuple[str, ...]]) -> str:
    cells = [_cell(found[place]) for place in _places(case)]
    if missed(found):
        cells[0] = f"none: {case.uncaught or 'no reason is known'}"
    return f"| {name} | {' | '.join(cells)} |"


def _head(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]


def _summary(found: Mapping[str, Mapping[str, tuple[str, ...]]]) -> list[str]:
    """How many each check catches, and how many no other does."""
    by_name = {
        name: {check for each in by.values() for check in each} for name, by in found.items()
    }
    caught_by = Counter(check for failed in by_name.values() for check in failed)
    alone = Counter(next(iter(failed)) for failed in by_name.values() if len(failed) == 1)
    lines = _head("check", "catches", "and no other does")
    lines += [f"| `{name}` | {count} | {alone[name]} |" for name, count in caught_by.most_common()]
    return lines


def tables(found: Mapping[str, Mapping[str, tuple[str, ...]]]) -> str:
    """The page's tables in Markdown.

    Args:
        found: of every case, what `caught` gives.
    """
    every = cases()
    none = [name for name, each in found.items() if missed(each)]
    head = f"{len(found) - len(none)} of {len(found)} wrong explainers are caught."
    lines = [head, "", "## By check", "", *_summary(found)]
    for title, for_one in (("Shipped by libraries", False), ("Made for one check each", True)):
        these = {name: each for name, each in found.items() if bool(every[name].check) is for_one}
        places = _places(every[next(iter(these))])
        lines += ["", f"## {title}", "", *_head("wrong explainer", *places)]
        lines += [_row(name, every[name], each) for name, each in these.items()]
    return "\n".join(lines)


def rows_of(page: str) -> dict[str, tuple[frozenset[str], bool]]:
    """Of each row of the page: the checks that it names, and whether it says that none does.

    Args:
        page: its text.
    """
    every, found = cases(), {}
    for line in page.splitlines():
        name, _, rest = line.removeprefix("| ").partition(" | ")
        if name in every:
            none = rest.startswith("none: ")
            words = set() if none else set(rest.split("`")[1::2])
            found[name] = frozenset(words), none
    return found


def main() -> None:
    """Print the tables, or write them between the marks of a page."""
    page = page_asked_for(__doc__)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    wrong = [name for name, case in rights().items() if not missed(caught(case))]
    if wrong:
        sys.exit(f"right explainers are caught: {', '.join(wrong)}")
    print_or_write(page, tables({name: caught(case) for name, case in cases().items()}))


if __name__ == "__main__":
    main()
