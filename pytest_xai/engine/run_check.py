"""Runs one check until its verdict is certain."""

import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.budget import Budget
from pytest_xai.core.finding import Finding, comparable
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.decision import Decision, broken
from pytest_xai.engine.task import Progress, Task
from pytest_xai.errors import GuestError, InvalidArgument, NotApplicable, XaiError
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Check

__all__ = ["as_expected", "finding_on", "rounds", "run_check"]


def run_check(bench: Bench, task: Task, *, progress: Progress | None = None) -> Verdict:
    """Run a check on an explainer in rounds of images, until its verdict is certain.

    It never raises for what the explainer, the model or the check does: the verdict says it.

    Args:
        bench: of the subject.
        task: the check, the explainer, and how the check is judged.
        progress: called after every round of images.
    """
    started, before = time.perf_counter(), bench.counter.spent
    try:
        with bench.budget(task.budget) as budget:
            fields = _outcome(bench, task, budget, progress)
    except NotApplicable as reason:
        fields = {"outcome": "not_applicable", "summary": str(reason) or "the check does not apply"}
    except GuestError as error:
        fields = {"outcome": "error", "summary": str(error), "traceback": error.traceback}
    except XaiError as error:
        fields = {"outcome": "error", "summary": f"{type(error).__name__}: {error}"}
    except Exception as error:  # noqa: BLE001  # a check may be a guest's as well
        fields = {
            "outcome": "error",
            "summary": f"the check raised {type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }
    verdict = task.verdict(
        **fields,
        subject=bench.subject.name,
        evaluations=bench.counter.spent - before,
        seconds=time.perf_counter() - started,
        seed=bench.seed,
    )
    return verdict if task.expected is None else as_expected(verdict, task.expected)


def _outcome(bench: Bench, task: Task, budget: Budget, progress: Progress | None) -> dict[str, Any]:
    check, decision = task.check, Decision(check=task.check, alpha=task.alpha)
    before = bench.counter.spent
    limit = min(len(bench), check.max_images or len(bench))
    for start, stop in rounds(limit):
        charged = budget.charged
        # Before the first round only the least that it can cost is known.
        per_image = charged / start if start else check.cost.least
        finding: Finding | None = None
        view = bench.view(start, stop)
        if budget.limit is None or charged + per_image * (stop - start) <= budget.limit:
            finding = _affordable(view, task.explainer, check, budget)
        if finding is None:
            decision.stopped = (
                f"The budget of {budget.limit} evaluations is too small for another round of "
                f"images ({charged} evaluations were spent on {start} images)."
            )
            break
        decision.add(view.images, finding)
        if progress is not None:
            progress(stop, limit, (bench.counter.spent - before).model)
        if decision.decided:
            break
    return decision.fields()


def _affordable(
    view: Bench, explainer: NamedExplainer, check: Check, budget: Budget
) -> Finding | None:
    """Return the finding on one round; None if the budget ended within the round."""
    try:
        finding = finding_on(view, explainer, check)
    except Exception:
        # An explainer may have caught the refusal and raised an error of its own.
        if budget.refused:
            return None
        raise
    return None if budget.refused else finding


def rounds(images: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of rounds that double the images seen so far: 32, 64, 128, ..."""
    start, stop = 0, min(ROUND, images)
    while start < images:
        # A round of one image has no map of another image to compare with.
        stop = images if images - stop == 1 else stop
        yield start, stop
        start, stop = stop, min(2 * stop, images)


def finding_on(bench: Bench, explainer: NamedExplainer, check: Check) -> Finding:
    """Return the finding on one round of images; a float32 failure is decided in float64.

    Args:
        bench: a view of the images of the round.
        explainer: the explainer to check.
        check: the check to run.
    """
    finding = _found(bench, explainer, check)
    if check.arbitrated and bench.inputs.dtype != torch.float64 and broken(finding, check):
        finding = _arbitrate(bench, explainer, check, finding)
    return finding


def _found(bench: Bench, explainer: NamedExplainer, check: Check) -> Finding:
    finding = check.function(bench, explainer)
    if finding.values.shape != (len(bench),):
        got = f"shape {tuple(finding.values.shape)}"
        expected = f"one figure per image: ({len(bench)},)"
        raise InvalidArgument.of("values of the finding", got=got, expected=expected)
    return finding


def _arbitrate(bench: Bench, explainer: NamedExplainer, check: Check, finding: Finding) -> Finding:
    dtype = str(bench.inputs.dtype).removeprefix("torch.")
    try:
        decided = _found(bench.double(), explainer, check)
    except XaiError as error:
        note = f"Judged in {dtype}: it could not be decided in float64 ({error})."
        return _noted(finding, note)
    if broken(decided, check):
        return _noted(decided, "Confirmed in float64.")
    if not comparable(decided.values, decided.limits).any():
        note = f"Beyond the limit in {dtype}, but no image can be judged in float64."
        return _noted(decided, note)
    return _noted(decided, f"Decided in float64: the {dtype} difference is rounding.")


def _noted(finding: Finding, note: str) -> Finding:
    return replace(finding, notes=(*finding.notes, note))


def as_expected(verdict: Verdict, reason: str) -> Verdict:
    """Turn an expected failure into xfailed, and a pass in its place into xpassed.

    Args:
        verdict: of a check that was expected to fail.
        reason: why it was expected.
    """
    if verdict.outcome == "failed":
        text = f"Expected to fail: {reason.rstrip('.')}. {verdict.summary}".strip()
        return replace(verdict, outcome="xfailed", summary=text)
    if verdict.outcome == "passed":
        text = f"Expected to fail ({reason}) but passed: remove the expected failure."
        return replace(verdict, outcome="xpassed", summary=text)
    return verdict
