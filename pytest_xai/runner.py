"""(subject, explainer, checks) -> verdicts: what applies, what is expected, what is spent."""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

from pytest_xai import checks as catalogue
from pytest_xai.bench import Bench
from pytest_xai.errors import CheckFailed, InvalidArgument, UnknownName
from pytest_xai.judge import Assignment, judge
from pytest_xai.protocol import Traits, named
from pytest_xai.registry import FAMILIES, Check
from pytest_xai.subject import Subject
from pytest_xai.verdict import Verdict

__all__ = ["Planned", "Report", "Settings", "check_explainer", "select", "share_alpha"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What holds for a whole run.

    Attributes:
        seed: every random number of the run follows from it.
        alpha: probability that any sampled verdict of the run is wrong; shared by all of them.
        budget: model evaluations for the whole run; None: no limit.
        device: where subjects are moved to; None: where they are.
        undecided: what an undecided verdict does to the run: "fail", "warn" or "pass".
    """

    seed: int = 0
    alpha: float = 0.001
    budget: int | None = None
    device: str | None = None
    undecided: str = "warn"


@dataclass(frozen=True, slots=True)
class Planned:
    """A check that applies to an explainer, and whether its failure fails the run."""

    check: Check
    asserted: bool


def select(
    traits: Traits, *, select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[Planned]:
    """The checks that apply to an explainer of these traits; no model is run.

    Universal checks and quality checks apply to all, claimed properties to those that claim
    them. A property that is asked for by its own name but not claimed is measured, not asserted.

    Args:
        traits: of the explainer.
        select: names of checks or families; none: all.
        ignore: names of checks or families to leave out.

    Raises:
        UnknownName: a name is neither a check nor a family, or a claim is no check.
    """
    table = catalogue.all()
    names = [check.name for check in table]
    known = [*FAMILIES, *names]
    for name in (*select, *ignore):
        if name not in known:
            raise UnknownName.among("check or family", name, known)
    for claim in sorted(traits.claims):
        if claim not in names:
            raise UnknownName.among("claim", claim, names)
    planned = []
    for check in table:
        wanted = not select or check.name in select or check.family in select
        if not wanted or check.name in ignore or check.family in ignore:
            continue
        asserted = check.scope != "claimed" or check.name in traits.claims
        if asserted or check.name in select:
            planned.append(Planned(check, asserted))
    return planned


def share_alpha(alpha: float, planned: Iterable[Planned]) -> float:
    """The level of one sampled verdict: alpha over the number of asserted ones (Bonferroni).

    Bonferroni holds whatever the verdicts of a run have to do with each other, and they have
    much: they share images, maps and attacks.

    Raises:
        InvalidArgument: alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise InvalidArgument.of("alpha", got=alpha, expected="between 0 and 1")
    sampled = sum(1 for item in planned if item.asserted and item.check.judged == "mean")
    return alpha / max(sampled, 1)


class Report(Sequence[Verdict]):
    """The verdicts of one run, in the order of the plan."""

    def __init__(self, verdicts: Iterable[Verdict], settings: Settings) -> None:
        self._verdicts = list(verdicts)
        self.settings = settings

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Verdict]: ...
    def __getitem__(self, index: int | slice) -> Verdict | Sequence[Verdict]:
        return self._verdicts[index]

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)

    @property
    def failed(self) -> list[Verdict]:
        """The verdicts that fail the run."""
        return [verdict for verdict in self if verdict.fails_run]

    def to_json(self) -> str:
        """The JSON report, schema_version 1."""
        from pytest_xai.reporting.json_report import report_json

        settings = self.settings
        run = {"seed": settings.seed, "alpha": settings.alpha, "budget": settings.budget}
        return json.dumps(report_json(list(self), run=run), indent=2)

    def __str__(self) -> str:
        return "\n".join(f"{v.explainer}::{v.check}: {v.outcome} {v.reason}".rstrip() for v in self)


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

    Args:
        explainer: a callable explainer(model, inputs, targets), or a gallery name such as
            "captum:IntegratedGradients".
        subject: what to explain, or a function that makes it; None: the bundled digits.
        checks: names of checks or families; None: all that apply.
        ignore: names of checks or families to leave out.
        expected_failures: reasons by name of check; such a check must fail (strict).
        on_fail: what failed verdicts do: raise `CheckFailed`, warn, or nothing.
        seed: every random number follows from it.
        alpha: probability that any sampled verdict is wrong, shared by all of them.
        budget: model evaluations for the whole run, shared by declared cost.

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
    planned = select(
        guest.traits, select=_names("checks", checks or ()), ignore=_names("ignore", ignore)
    )
    expected = dict(expected_failures or {})
    for name in expected:
        if name not in {item.check.name for item in planned}:
            applying = [item.check.name for item in planned]
            raise UnknownName.among("check in expected_failures", name, applying)
    settings = Settings(seed=seed, alpha=alpha, budget=budget)
    level, budgets = share_alpha(alpha, planned), share_budget(budget, planned)
    bench = Bench(_subject(subject), seed=seed)
    try:
        report = Report(
            (
                judge(
                    bench,
                    guest,
                    Assignment(
                        check=item.check,
                        asserted=item.asserted,
                        alpha=level,
                        budget=share,
                        expected=expected.get(item.check.name),
                        # Alone, a check has its share of alpha and budget for itself.
                        reproduce=f"check_explainer({guest.name}, checks=[{item.check.name!r}], "
                        f"seed={seed}, alpha={level!r}, budget={share})",
                    ),
                )
                for item, share in zip(planned, budgets, strict=True)
            ),
            settings,
        )
    finally:
        bench.close()
    _announce(report, on_fail)
    return report


def share_budget(budget: int | None, planned: Sequence[Planned]) -> list[int | None]:
    """Split a run's budget of model evaluations in proportion to the declared cost."""
    if budget is None:
        return [None] * len(planned)
    if budget < 0:
        raise InvalidArgument.of("budget", got=budget, expected="a number of evaluations >= 0")
    weights = [item.check.cost.least for item in planned]
    return [budget * weight // max(sum(weights), 1) for weight in weights]


def _names(argument: str, names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InvalidArgument.of(argument, got=repr(names), expected="a list of names")
    return tuple(names)


def _subject(subject: Subject | Callable[[], Subject] | None) -> Subject:
    if subject is None:
        from pytest_xai.subjects import load_digits

        return load_digits()
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
