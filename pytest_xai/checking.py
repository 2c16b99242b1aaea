"""Checking an explainer by a call: on a subject of the user's, or on all that is built in."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pytest_xai import checks as catalogue
from pytest_xai.bench import Bench
from pytest_xai.errors import CheckFailed, InvalidArgument, UnknownName
from pytest_xai.exploration import FIELDS, Wanted
from pytest_xai.judge import Assignment, as_expected, judge
from pytest_xai.protocol import NamedExplainer, named
from pytest_xai.report import Report, Settings
from pytest_xai.runner import Planned, select, share_alpha, share_budget
from pytest_xai.subject import Subject
from pytest_xai.verdict import Verdict

__all__ = ["BUDGET", "as_announced", "check_explainer", "fitting", "on_field", "on_subject"]

# Model evaluations of a call without a subject: half for the digits, a quarter for each field of
# small networks.
BUDGET = 4_000_000


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
    subject: Subject, guest: NamedExplainer, planned: Sequence[Planned], settings: Settings
) -> list[Verdict]:
    """One verdict for each check on one subject.

    Args:
        subject: what to explain.
        guest: whom to check.
        planned: the checks, which share alpha and the budget.
        settings: of the run.
    """
    alpha = share_alpha(settings.alpha, planned)
    budgets = share_budget(settings.budget, planned)
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
                    # Alone, a check has its share of alpha and budget for itself.
                    reproduce=f"check_explainer({guest.origin or guest.name}, "
                    f"checks=[{item.check.name!r}], seed={settings.seed}, alpha={alpha!r}, "
                    f"budget={budget})",
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
        settings: of the run; its budget is this field's.
    """
    chosen = fitting(planned, field)
    budgets = share_budget(settings.budget, chosen)
    wanted = Wanted(
        explainer=guest,
        checks={item.check.name: item.check for item in chosen},
        seed=settings.seed,
    )
    shares = {item.check.name: budget for item, budget in zip(chosen, budgets, strict=True)}
    return FIELDS[field](wanted, shares) if chosen else []


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

    assert settings.budget is not None
    on_images = [item for item in planned if item.check.scope != "probe"]
    half = replace(settings, budget=settings.budget // 2)
    verdicts = on_subject(load_digits(), guest, on_images, half)
    for field in FIELDS:
        quarter = replace(settings, budget=settings.budget // (2 * len(FIELDS)))
        verdicts += on_field(field, guest, planned, quarter)
    order = catalogue.names()
    return sorted(verdicts, key=lambda verdict: order.index(verdict.check))


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
