"""Checking an explainer by a call: on a subject of the user's, or on all that is built in."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pytest_xai import checks as catalogue
from pytest_xai.bench.bench import Bench
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration import FIELDS, Wanted
from pytest_xai.engine.report import Report, Settings
from pytest_xai.engine.run_check import Assignment, as_expected, judge
from pytest_xai.engine.selection import Planned, require_budget, select, share_alpha, share_budget
from pytest_xai.errors import CheckFailed, InvalidArgument, UnknownName
from pytest_xai.protocol import NamedExplainer, named

__all__ = ["BUDGET", "as_announced", "check_explainer", "fitting", "on_field", "on_subject"]

# Model evaluations of a call without a subject.
BUDGET = 8_000_000
# Of them, half is for the digits, and a quarter for each field of small networks.
_HALF, _QUARTER = 2, 4
# What a map of an explainer nobody knows is taken to cost, to share out what a field may spend.
_PER_MAP = 50


def check_explainer(
    explainer: object,
    subject: Subject | Callable[[], Subject] | None = None,
    checks: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    expected_failures: Mapping[str, str] | None = None,
    on_fail: Literal["raise", "warn", "ignore"] = "raise",
    seed: int = 0,
    alpha: float = 0.001,
    budget: int | None = None,
) -> Report:
    """Check an explainer, in a notebook or a script as under pytest.

    Without a subject, it is checked on the bundled digits ("digits"), on networks whose right maps
    are known ("probes"), and on generated networks ("networks"). There, a check has one verdict for
    all of them, and the counterexample of a failure is the smallest network that was found to show
    it, as Python that can be run.

    Args:
        explainer: a callable explainer(model, inputs, targets), or a gallery name such as
            "captum:IntegratedGradients".
        subject: what to explain, or a function that makes it; None: all that is built in.
        checks: names of checks or families; None: all that apply.
        ignore: names of checks or families to leave out.
        expected_failures: reasons by name of check; such a check must fail (strict), without a
            subject on one of those built in.
        on_fail: what failed verdicts do: raise `CheckFailed`, warn, or nothing.
        seed: every random number follows from it.
        alpha: probability that any sampled verdict is wrong, shared by all of them.
        budget: model evaluations for the whole run, shared by declared cost; None: no limit, and
            `BUDGET` without a subject. The search for a smaller counterexample comes on top.

    Returns:
        The verdicts, in the order of the checks.

    Raises:
        CheckFailed: a verdict fails the run and ``on_fail`` is "raise".
        InvalidArgument: an argument is wrong.
        UnknownName: a name of a check, claim, explainer or expected failure does not exist.
    """
    if on_fail not in ("raise", "warn", "ignore"):
        raise InvalidArgument.of("on_fail", got=repr(on_fail), expected="raise, warn or ignore")
    if isinstance(explainer, str):
        from pytest_xai import explainers as gallery

        explainer = gallery.get(explainer)
    guest = named(explainer)
    names = _names("checks", checks or ()), _names("ignore", ignore)
    planned = select(guest.traits, select=names[0], ignore=names[1], probes=subject is None)
    expected = dict(expected_failures or {})
    for name in expected:
        if name not in {item.check.name for item in planned}:
            applying = [item.check.name for item in planned]
            raise UnknownName.among("check in expected_failures", name, applying)
    if subject is None:
        settings = Settings(seed=seed, alpha=alpha, budget=BUDGET if budget is None else budget)
        verdicts = _built_in(guest, planned, settings)
    else:
        settings = Settings(seed=seed, alpha=alpha, budget=budget)
        verdicts = on_subject(_subject(subject), guest, planned, settings)
    report = Report(as_announced(verdicts, expected), settings)
    _announce(report, on_fail)
    return report


def on_subject(
    subject: Subject,
    guest: NamedExplainer,
    planned: Sequence[Planned],
    settings: Settings,
    *,
    parts: int = 1,
    per_map: int = 1,
) -> list[Verdict]:
    """One verdict for each check on one subject.

    Args:
        subject: what to explain.
        guest: whom to check.
        planned: the checks, which share alpha and the budget.
        settings: of the call.
        parts: of so many equal parts of the budget, one is for this subject.
        per_map: evaluations that a map is taken to cost, to share out the budget.
    """
    alpha = share_alpha(settings.alpha, planned)
    budgets = share_budget(_part(settings.budget, parts), planned, per_map=per_map)
    bench = Bench(subject, seed=settings.seed)
    try:
        return [
            judge(
                bench,
                guest,
                Assignment(
                    check=item.check,
                    asserted=item.asserted,
                    alpha=alpha,
                    budget=budget,
                    reproduce=_call(
                        guest,
                        item.check.name,
                        replace(settings, alpha=alpha, budget=_whole(budget, parts)),
                    ),
                ),
            )
            for item, budget in zip(planned, budgets, strict=True)
        ]
    finally:
        bench.close()


def on_field(
    field: str, guest: NamedExplainer, planned: Sequence[Planned], settings: Settings
) -> list[Verdict]:
    """One verdict for each check on a field of small networks.

    Checks that the field is not for are left out: `fitting`.

    Args:
        field: "probes" or "networks".
        guest: whom to check.
        planned: the checks, which share the budget.
        settings: of the call; a quarter of its budget is this field's.
    """
    chosen = fitting(planned, field)
    budget = _part(settings.budget, _QUARTER)
    shares = share_budget(budget, chosen, per_map=_PER_MAP)
    budgets = {item.check.name: share for item, share in zip(chosen, shares, strict=True)}
    wanted = Wanted(
        explainer=guest,
        checks={item.check.name: item.check for item in chosen},
        seed=settings.seed,
    )
    verdicts = FIELDS[field](wanted, budgets) if chosen else []
    return [
        replace(
            verdict,
            reproduce=_call(
                guest,
                verdict.check,
                replace(settings, budget=_whole(budgets[verdict.check], _QUARTER)),
            ),
        )
        for verdict in verdicts
    ]


def fitting(planned: Sequence[Planned], field: str) -> list[Planned]:
    """Those of the planned checks that a field is for: asserted, and judged by single images."""
    return [
        item
        for item in planned
        if item.asserted
        and item.check.judged == "exact"
        and (field == "probes" or item.check.scope != "probe")
    ]


def as_announced(verdicts: Sequence[Verdict], expected: Mapping[str, str]) -> list[Verdict]:
    """Mark what was expected to fail: where it fails anywhere, its passes elsewhere are passes.

    Args:
        verdicts: of one run.
        expected: reasons by name of check.
    """
    failing = {verdict.check for verdict in verdicts if verdict.outcome == "failed"}
    return [
        as_expected(verdict, expected[verdict.check])
        if verdict.check in expected
        and (verdict.outcome == "failed" or verdict.check not in failing)
        else verdict
        for verdict in verdicts
    ]


def _built_in(
    guest: NamedExplainer, planned: Sequence[Planned], settings: Settings
) -> list[Verdict]:
    """On the digits and on both fields, each check's verdicts side by side."""
    from pytest_xai.subjects import load_digits

    on_images = [item for item in planned if item.check.scope != "probe"]
    verdicts = on_subject(load_digits(), guest, on_images, settings, parts=_HALF, per_map=_PER_MAP)
    for field in FIELDS:
        verdicts += on_field(field, guest, planned, settings)
    order = catalogue.names()
    return sorted(verdicts, key=lambda verdict: order.index(verdict.check))


def _part(budget: int | None, parts: int) -> int | None:
    require_budget(budget)
    return None if budget is None else budget // parts


def _whole(share: int | None, parts: int) -> int | None:
    """The budget of which a check has this share where it runs alone."""
    return None if share is None else share * parts


def _call(guest: NamedExplainer, check: str, settings: Settings) -> str:
    """What repeats one check: alone, it has all of alpha and of the budget for itself."""
    return (
        f"check_explainer({guest.origin or guest.name}, checks=[{check!r}], "
        f"seed={settings.seed}, alpha={settings.alpha!r}, budget={settings.budget})"
    )


def _names(argument: str, names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InvalidArgument.of(argument, got=repr(names), expected="a list of names")
    return tuple(names)


def _subject(subject: Subject | Callable[[], Subject]) -> Subject:
    if isinstance(subject, Subject):
        return subject
    made: Any = subject() if callable(subject) else subject
    if not isinstance(made, Subject):
        raise InvalidArgument.of(
            "subject", got=type(made).__name__, expected="a Subject or a function that makes one"
        )
    return made


def _announce(report: Report, on_fail: str) -> None:
    if not report.failed or on_fail == "ignore":
        return
    from pytest_xai.reporting.terminal import failure_text

    text = "\n\n".join(failure_text(verdict) for verdict in report.failed)
    if on_fail == "raise":
        raise CheckFailed(text)
    warnings.warn(text, stacklevel=3)
