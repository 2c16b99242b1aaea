"""The plan of a run: which check runs on which explainer and subject, by names and traits alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_xai.engine.run_check import Assignment
from pytest_xai.engine.selection import Planned, applying, select, share_alpha, share_budget
from pytest_xai.errors import UnknownName
from pytest_xai.plugin.model_repo import Expectation, Registry
from pytest_xai.plugin.options import Options, reproduce_command
from pytest_xai.protocol import NamedExplainer, Traits

__all__ = ["Case", "choose", "plan_cases"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One check on one explainer and one subject: one pytest item of the gate.

    Attributes:
        subject: its registered name.
        explainer: with its registered name.
        assignment: the check, and how it is judged.
    """

    subject: str
    explainer: NamedExplainer
    assignment: Assignment

    @property
    def id(self) -> str:
        """The node id of the item."""
        return _id(self.subject, self.explainer, self.assignment.check.name)


def plan_cases(registry: Registry, options: Options) -> list[Case]:
    """All cases in order: by subject and explainer as registered, by check as in its table.

    Alpha and budget are shared out over the whole plan, so that a verdict does not depend on
    which of its neighbours pytest deselects.

    Raises:
        UnknownName: a name of a check, family or claim does not exist, or an expected failure
            names what is not there or not planned.
    """
    for flag, names in (("--xai-select", options.select), ("--xai-ignore", options.ignore)):
        try:
            select(Traits(), select=names)
        except UnknownName as error:
            raise UnknownName(f"{flag}: {error}") from error
    chosen = {
        name: _select(explainer, options.select, options.ignore)
        for name, explainer in registry.explainers.items()
    }
    for expectation in registry.expectations:
        _refuse_stale(expectation, registry, chosen)
    triples = [
        (subject, registry.explainers[name], planned)
        for subject in registry.subjects
        for name, checks in chosen.items()
        for planned in checks
    ]
    everything = [planned for _, _, planned in triples]
    alpha = share_alpha(options.alpha, everything)
    budgets = share_budget(options.budget, everything)
    return [
        Case(
            subject=subject,
            explainer=explainer,
            assignment=Assignment(
                check=planned.check,
                asserted=planned.asserted,
                alpha=alpha,
                budget=budget,
                expected=registry.expected(subject, explainer.name, planned.check.name),
                reproduce=reproduce_command(_id(subject, explainer, planned.check.name), options),
            ),
        )
        for (subject, explainer, planned), budget in zip(triples, budgets, strict=True)
    ]


def choose(cases: Sequence[Case], wanted: Sequence[str]) -> list[Case]:
    """The cases that ids on the command line name; without any, all.

    Args:
        cases: the plan.
        wanted: ids, or the beginnings of ids, part by part.

    Raises:
        UnknownName: one matches nothing; the message says what there is in its place.
    """
    paths = [tuple(case.id.split("::")) for case in cases]
    chosen: set[tuple[str, ...]] = set()
    for one in wanted:
        parts = tuple(one.rstrip(":").split("::"))
        found = [path for path in paths if path[: len(parts)] == parts]
        if not found:
            raise _unmatched(parts, paths)
        chosen.update(found)
    return [case for case, path in zip(cases, paths, strict=True) if not wanted or path in chosen]


def _id(subject: str, explainer: NamedExplainer, check: str) -> str:
    return f"xai::{subject}::{explainer.name}::{check}"


def _select(
    explainer: NamedExplainer, names: Sequence[str], ignore: Sequence[str]
) -> list[Planned]:
    try:
        return select(explainer.traits, select=names, ignore=ignore)
    except UnknownName as error:
        raise UnknownName(f"explainer {explainer.name!r}: {error}") from error


def _unmatched(parts: Sequence[str], paths: Sequence[tuple[str, ...]]) -> UnknownName:
    """Point at the first part of an id that fits nothing."""
    there = list(paths)
    for depth, part in enumerate(parts):
        known = dict.fromkeys(path[depth] for path in there if len(path) > depth)
        if part not in known:
            break
        there = [path for path in there if path[depth] == part]
    kind = ("id", "subject", "explainer", "check", "part")[min(depth, 4)]
    return UnknownName(f"{'::'.join(parts)}: {UnknownName.among(kind, part, known)}")


def _refuse_stale(
    expectation: Expectation, registry: Registry, chosen: Mapping[str, Sequence[Planned]]
) -> None:
    """An expected failure of what never runs would hide for ever that it is gone."""
    places: list[tuple[str, str, Sequence[str]]] = []
    if expectation.subject is not None:
        places.append(("subject", expectation.subject, list(registry.subjects)))
    places.append(("explainer", expectation.explainer, list(registry.explainers)))
    if expectation.explainer in registry.explainers:
        explainer = registry.explainers[expectation.explainer]
        # What --xai-select leaves out of this run is not stale.
        there_are = [*applying(explainer.traits), *chosen[explainer.name]]
        names = list(dict.fromkeys(planned.check.name for planned in there_are))
        places.append((f"check of explainer {explainer.name!r}", expectation.check, names))
    for kind, name, known in places:
        if name not in known:
            where = f"expected failure {expectation.explainer}::{expectation.check}"
            raise UnknownName(f"{where}: {UnknownName.among(kind, name, known)}")
