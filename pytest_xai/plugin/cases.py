"""Running cases: benches from factories, outcomes of tests from verdicts, checks as parameters."""

import copy
import functools
import os
import shlex
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_xai.bench.bench import Bench
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.check_explainer import BUDGET, as_announced, fitting, on_field
from pytest_xai.engine.exploration import FIELDS
from pytest_xai.engine.report import Settings
from pytest_xai.engine.run_check import Progress, judge
from pytest_xai.engine.selection import applying, select
from pytest_xai.errors import CheckFailed, GuestError, InvalidArgument, UnknownName
from pytest_xai.plugin.model_repo import Registry, as_explainer
from pytest_xai.plugin.options import Options
from pytest_xai.plugin.plan import Case, plan_cases
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Check

if TYPE_CHECKING:
    import pytest

__all__ = ["Benches", "parametrize_with_checks", "run_case", "settle"]

Source = Subject | Callable[[], object]


class Benches:
    """The benches of this process: one per subject, made when a check first needs it.

    Args:
        sources: a `Subject`, or the factory of one, by name.
        seed: of the run.
        device: where subjects run; None: where their inputs are.
        rename: subjects get the names of their sources instead of their own.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        seed: int = 0,
        device: str | None = None,
        rename: bool = True,
    ) -> None:
        self._sources = sources
        self._seed = seed
        self._device = device
        self._rename = rename
        self._made: dict[str, Bench | GuestError] = {}

    def get(self, name: str) -> Bench:
        """The bench of a subject; a factory is called once, whatever it does.

        Raises:
            GuestError: the factory raised, or returned something else.
        """
        if name not in self._made:
            try:
                self._made[name] = self._make(name)
            except Exception as error:  # noqa: BLE001  # a guest raises what it likes
                self._made[name] = GuestError(
                    f"subject {name!r} cannot be made: {type(error).__name__}: {error}",
                    traceback=traceback.format_exc(),
                )
        made = self._made[name]
        if isinstance(made, GuestError):
            raise made
        return made

    def close(self) -> None:
        """Give all models back as they were."""
        for made in self._made.values():
            if isinstance(made, Bench):
                made.close()

    def _make(self, name: str) -> Bench:
        source = self._sources[name]
        made = source if isinstance(source, Subject) else source()
        if not isinstance(made, Subject):
            raise InvalidArgument.of(
                "the factory's result", got=type(made).__name__, expected="a pytest_xai.Subject"
            )
        subject = copy.copy(made) if self._device is None else _on_device(made, self._device)
        if self._rename:
            subject.name = name
        return Bench(subject, seed=self._seed)


def run_case(case: Case, benches: Benches, *, seed: int, progress: Progress | None) -> Verdict:
    """Run one case; where its subject cannot be made, the verdict says so.

    Args:
        case: what to run.
        benches: of this process.
        seed: of the run.
        progress: called with (images done, images at the most, evaluations spent).
    """
    try:
        bench = benches.get(case.subject)
    except GuestError as error:
        check = case.assignment.check
        return Verdict(
            subject=case.subject,
            explainer=case.explainer.name,
            check=check.name,
            family=check.family,
            asserted=case.assignment.asserted,
            direction=check.direction,
            outcome="error",
            reason=str(error),
            traceback=error.traceback,
            seed=seed,
            reproduce=case.assignment.reproduce,
        )
    if progress is None:
        return judge(bench, case.explainer, case.assignment)
    images = min(len(bench), case.assignment.check.max_images or len(bench))
    pulse = _Pulse(images, progress)
    with bench.reporting(pulse.beat):
        return judge(bench, case.explainer, replace(case.assignment, progress=pulse.step))


class _Pulse:
    """Progress between the rounds of a check as well: after every call of the explainer."""

    def __init__(self, images: int, progress: Progress) -> None:
        self._progress = progress
        self._done, self._images = 0, images

    def step(self, done: int, images: int, evaluations: int) -> None:
        """A round is over."""
        self._done, self._images = done, images
        self._progress(done, images, evaluations)

    def beat(self, evaluations: int) -> None:
        """The explainer was called."""
        self._progress(self._done, self._images, evaluations)


def settle(verdict: Verdict, *, undecided: str = "warn", claim: str = "") -> None:
    """End a test as its verdict says: return, skip, xfail, or raise.

    Args:
        verdict: of the test's check.
        undecided: what an undecided verdict does: "fail", "warn" or "pass".
        claim: the sentence that the check tests, for the message.

    Raises:
        CheckFailed: the verdict fails the run.
    """
    import pytest

    from pytest_xai.reporting.terminal import failure_text

    __tracebackhide__ = True

    if verdict.outcome == "not_applicable":
        pytest.skip(verdict.reason)
    if verdict.outcome == "error" and not verdict.asserted:
        pytest.skip(f"measured, not asserted: {verdict.reason}")
    if verdict.outcome == "xfailed":
        pytest.xfail(verdict.reason)
    fails = verdict.asserted and verdict.outcome == "undecided" and undecided == "fail"
    if verdict.fails_run or fails:
        raise CheckFailed(failure_text(verdict, claim))


def parametrize_with_checks(
    explainers: Sequence[object],
    *,
    subject: Source | None = None,
    checks: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    expected_failures: Mapping[str, str] | None = None,
) -> "pytest.MarkDecorator":
    """Parametrise a test over the checks of explainers; its argument is called ``check``.

        @pytest_xai.parametrize_with_checks([integrated_gradients], subject=load_subject)
        def test_explainer(check):
            check()

    Calling ``check()`` returns the `Verdict`, skips the test where the check does not apply, and
    raises `CheckFailed` where it fails. The seed is 0; alpha is 0.001, shared by all sampled ones.

    Args:
        explainers: callables (model, inputs, targets) -> attributions, or names of the gallery.
        subject: what to explain, or a function that makes it, called once per process when a
            test first needs it; None: the bundled digits, and beside them probes and generated
            networks, as `check_explainer` has them.
        checks: names of checks or families; None: all that apply.
        ignore: names of checks or families to leave out.
        expected_failures: reasons by "explainer::check", or by the check's name for every
            explainer that it applies to; such a check must fail (strict).

    Raises:
        InvalidArgument: an argument is wrong.
        UnknownName: a name of a check or of an expected failure does not exist.
    """
    import pytest

    if isinstance(explainers, str) or not isinstance(explainers, Sequence) or not explainers:
        raise InvalidArgument.of(
            "explainers", got=repr(explainers), expected="a list of explainers"
        )
    registry = Registry()
    source = _load_digits if subject is None else subject
    registry.subject("subject", source)
    for each in explainers:
        explainer = as_explainer(each)
        registry.explainer(_id_part(explainer.name), explainer)
    for key, reason in (expected_failures or {}).items():
        name, _, check = key.rpartition("::")
        for one in [name] if name else _applying(registry, check):
            registry.expect_failure(one, check, reason)
    options = Options(select=tuple(checks or ()), ignore=tuple(ignore))
    benches = Benches({"subject": source}, rename=False)
    parameters = _on_subject(registry, options, benches)
    if subject is None:
        on_digits = [each for each in parameters if each.check.scope != "probe"]
        parameters = _with_fields(on_digits, registry, options)
    return pytest.mark.parametrize("check", parameters, ids=repr)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Parameter:
    """What a parametrised test gets as ``check``: call it.

    Attributes:
        explainer: its name.
        check: which check it is.
        expected: why it is expected to fail; None: it is not.
        runs: make its verdicts, one for each place where it is checked.
    """

    explainer: str
    check: Check
    expected: str | None
    runs: tuple[Callable[[], Verdict], ...]

    def __call__(self) -> Verdict:
        __tracebackhide__ = True
        current = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        expected = {} if self.expected is None else {self.check.name: self.expected}
        verdicts = as_announced([run() for run in self.runs], expected)
        told = min(verdicts, key=_urgency)
        verdict = replace(told, reproduce=f"pytest {shlex.quote(current)}" if current else "")
        settle(verdict, claim=self.check.claim)
        return verdict

    def __repr__(self) -> str:
        return f"{self.explainer}-{self.check.name}"


def _urgency(verdict: Verdict) -> int:
    """What a test tells of several verdicts: first what fails it, then what was announced."""
    order = ("failed", "error", "xpassed", "xfailed", "passed", "undecided", "not_applicable")
    return order.index(verdict.outcome)


def _on_subject(registry: Registry, options: Options, benches: Benches) -> list[_Parameter]:
    return [
        _Parameter(
            explainer=case.explainer.name,
            check=case.assignment.check,
            expected=case.assignment.expected,
            runs=(functools.partial(_bare, case, benches),),
        )
        for case in plan_cases(registry, options)
    ]


def _bare(case: Case, benches: Benches) -> Verdict:
    """The verdict whatever was expected."""
    bare = replace(case, assignment=replace(case.assignment, expected=None))
    return run_case(bare, benches, seed=0, progress=None)


def _with_fields(
    parameters: Sequence[_Parameter], registry: Registry, options: Options
) -> list[_Parameter]:
    """The same, on probes and generated networks as well, and what is made for probes alone."""
    runs: dict[tuple[str, str], list[Callable[[], Verdict]]] = {}
    made = {(each.explainer, each.check.name): each for each in parameters}
    for name, explainer in registry.explainers.items():
        for field in FIELDS:
            results = _Field(field, explainer, options)
            for item in results.planned:
                key = (name, item.check.name)
                made.setdefault(
                    key, _Parameter(explainer=name, check=item.check, expected=None, runs=())
                )
                runs.setdefault(key, []).append(functools.partial(results.verdict, key[1]))
    return [replace(each, runs=(*each.runs, *runs.get(key, ()))) for key, each in made.items()]


class _Field:
    """The verdicts on one field, made together when the first of them is asked for.

    So a check sees the same networks and has the same budget whichever tests are selected.
    """

    def __init__(self, field: str, explainer: NamedExplainer, options: Options) -> None:
        self._field = field
        self._explainer = explainer
        every = select(explainer.traits, select=options.select, ignore=options.ignore, probes=True)
        self.planned = fitting(every, field)
        self._verdicts: dict[str, Verdict] | None = None

    def verdict(self, check: str) -> Verdict:
        """The verdict of one check."""
        if self._verdicts is None:
            settings = Settings(budget=BUDGET)
            made = on_field(self._field, self._explainer, self.planned, settings)
            self._verdicts = {verdict.check: verdict for verdict in made}
        return self._verdicts[check]


def _applying(registry: Registry, check: str) -> list[str]:
    there_are = {
        name: [planned.check.name for planned in applying(explainer.traits)]
        for name, explainer in registry.explainers.items()
    }
    found = [name for name, names in there_are.items() if check in names]
    if not found:
        known = dict.fromkeys(name for names in there_are.values() for name in names)
        raise UnknownName.among("check in expected_failures", check, known)
    return found


def _on_device(subject: Subject, device: str) -> Subject:
    return Subject(
        subject.model,
        subject.inputs,
        targets=None if subject.predicted else subject.targets,
        baseline=subject.baseline,
        bounds=subject.bounds,
        masks=subject.masks,
        name=subject.name,
        device=device,
    )


def _load_digits() -> Subject:
    from pytest_xai.subjects import load_digits

    return load_digits()


def _id_part(name: str) -> str:
    return "".join(char if char.isalnum() or char in "_.-" else "_" for char in name)
