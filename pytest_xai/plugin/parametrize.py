"""`parametrize_with_checks`: the checks of explainers as parameters of an ordinary test."""

import functools
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_xai.core.run import Run
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.check_explainer import BUDGET, as_announced, fitting, on_collection
from pytest_xai.engine.exploration import COLLECTIONS
from pytest_xai.engine.selection import applying, select
from pytest_xai.engine.task import Task
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.plugin.benches import Benches, Source, run_task
from pytest_xai.plugin.model_repo import ModelRepo, as_explainer
from pytest_xai.plugin.options import Options
from pytest_xai.plugin.plan import plan_tasks
from pytest_xai.plugin.settle import settle
from pytest_xai.protocol import NamedExplainer

if TYPE_CHECKING:
    import pytest

__all__ = ["parametrize_with_checks"]


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
    repo = ModelRepo()
    source = _load_digits if subject is None else subject
    repo.subject("subject", source)
    for each in explainers:
        explainer = as_explainer(each)
        repo.explainer(_id_part(explainer.name), explainer)
    for key, reason in (expected_failures or {}).items():
        name, _, check = key.rpartition("::")
        for one in [name] if name else _applying(repo, check):
            repo.expect_failure(one, check, reason)
    options = Options(run=Run(select=tuple(checks or ()), ignore=tuple(ignore)))
    benches = Benches({"subject": source}, rename=False)
    parameters = [
        TaskParameter(task=task, runs=(functools.partial(_run, task, benches),))
        for task in plan_tasks(repo, options)
    ]
    if subject is None:
        on_digits = [each for each in parameters if each.task.check.scope != "probe"]
        parameters = _with_collections(on_digits, repo, options.run)
    return pytest.mark.parametrize("check", parameters, ids=repr)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TaskParameter:
    """The argument ``check`` of a parametrised test; the test calls it.

    Attributes:
        task: the check, the explainer, and whether it is expected to fail.
        runs: each of them makes a verdict; there is one for each place where it is checked.
    """

    task: Task
    runs: tuple[Callable[[], Verdict], ...]

    def __call__(self) -> Verdict:
        __tracebackhide__ = True
        current = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        expected = self.task.expected
        reasons = {} if expected is None else {self.task.check.name: expected}
        verdicts = as_announced([run() for run in self.runs], reasons)
        chosen = min(verdicts, key=_urgency)
        verdict = replace(chosen, reproduce=f"pytest {shlex.quote(current)}" if current else "")
        settle(verdict)
        return verdict

    def __repr__(self) -> str:
        return f"{self.task.explainer.name}-{self.task.check.name}"


def _urgency(verdict: Verdict) -> int:
    """Order several verdicts of one test: first those that fail it, then expected failures."""
    order = ("failed", "error", "xpassed", "xfailed", "passed", "undecided", "not_applicable")
    return order.index(verdict.outcome)


def _run(task: Task, benches: Benches) -> Verdict:
    """Return the verdict, whether or not a failure is expected."""
    return run_task(replace(task, expected=None), benches, seed=0)


def _with_collections(
    parameters: Sequence[TaskParameter], repo: ModelRepo, run: Run
) -> list[TaskParameter]:
    """Add the runs on probes and generated networks, and the checks that are for probes alone."""
    runs: dict[tuple[str, str], list[Callable[[], Verdict]]] = {}
    made = {(each.task.explainer.name, each.task.check.name): each for each in parameters}
    for name, explainer in repo.explainers.items():
        for collection in COLLECTIONS:
            results = _OnCollection(collection, explainer, run)
            for task in results.tasks:
                key = (name, task.check.name)
                made.setdefault(key, TaskParameter(task=task, runs=()))
                runs.setdefault(key, []).append(functools.partial(results.verdict, key[1]))
    return [replace(each, runs=(*each.runs, *runs.get(key, ()))) for key, each in made.items()]


class _OnCollection:
    """The verdicts on one collection of networks, made together when the first is asked for.

    So a check sees the same networks and has the same budget whichever tests are selected.
    """

    def __init__(self, collection: str, explainer: NamedExplainer, run: Run) -> None:
        self._collection = collection
        every = select(explainer, select=run.select, ignore=run.ignore, probes=True)
        self.tasks = fitting(every, collection)
        self._verdicts: dict[str, Verdict] | None = None

    def verdict(self, check: str) -> Verdict:
        """Return the verdict of one check."""
        if self._verdicts is None:
            made = on_collection(self._collection, self.tasks, Run(budget=BUDGET))
            self._verdicts = {verdict.check: verdict for verdict in made}
        return self._verdicts[check]


def _applying(repo: ModelRepo, check: str) -> list[str]:
    """Return the names of the explainers that a check applies to."""
    names = {name: applying(explainer) for name, explainer in repo.explainers.items()}
    found = [name for name, checks in names.items() if check in checks]
    if not found:
        known = dict.fromkeys(check for checks in names.values() for check in checks)
        raise UnknownName.among("check in expected_failures", check, known)
    return found


def _load_digits() -> Subject:
    from pytest_xai.subjects import load_digits

    return load_digits()


def _id_part(name: str) -> str:
    return "".join(char if char.isalnum() or char in "_.-" else "_" for char in name)
