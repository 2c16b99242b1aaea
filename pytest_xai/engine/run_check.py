"""Runs one check until its verdict is certain."""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.budget import Budget
from pytest_xai.core.verdict import Finding, Verdict, tells
from pytest_xai.engine.decision import Tally, broken
from pytest_xai.errors import GuestError, InvalidArgument, NotApplicable, XaiError
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Check

__all__ = ["Assignment", "as_expected", "judge"]

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One check to run on one explainer.

    Attributes:
        check: what to run.
        asserted: its failure fails the run.
        alpha: level of a check judged by a mean.
        budget: model evaluations that it may be charged, with those of the tensors that it shares
            with other checks; None: no limit.
        expected: reason why it is expected to fail; None: it is not.
        reproduce: a command or call that repeats it.
        progress: called with (images done, images there are, evaluations spent).
        to_the_end: go on when the verdict is certain, for a comparison with a test of fixed size.
    """

    check: Check
    asserted: bool
    alpha: float = 0.001
    budget: int | None = None
    expected: str | None = None
    reproduce: str = ""
    progress: Progress | None = None
    to_the_end: bool = False


def judge(bench: Bench, explainer: NamedExplainer, assignment: Assignment) -> Verdict:
    """Run a check on an explainer in rounds of images, until its verdict is certain.

    Never raises for what the guests do: the verdict says it.
    """
    started, before = time.perf_counter(), bench.counter.spent
    try:
        with bench.budget(assignment.budget) as budget:
            fields = _outcome(bench, explainer, assignment, budget)
    except NotApplicable as reason:
        fields = {"outcome": "not_applicable", "reason": str(reason) or "the check does not apply"}
    except GuestError as error:
        fields = {"outcome": "error", "reason": str(error), "traceback": error.traceback}
    except XaiError as error:
        fields = {"outcome": "error", "reason": f"{type(error).__name__}: {error}"}
    except Exception as error:  # noqa: BLE001  # a check may be a guest's as well
        fields = {
            "outcome": "error",
            "reason": f"the check raised {type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }
    check = assignment.check
    verdict = Verdict(
        subject=bench.subject.name,
        explainer=explainer.name,
        check=check.name,
        family=check.family,
        asserted=assignment.asserted,
        direction=check.direction,
        evaluations=bench.counter.spent - before,
        seconds=time.perf_counter() - started,
        seed=bench.seed,
        reproduce=assignment.reproduce,
        **fields,
    )
    return verdict if assignment.expected is None else as_expected(verdict, assignment.expected)


def _outcome(
    bench: Bench, explainer: NamedExplainer, assignment: Assignment, budget: Budget
) -> dict[str, Any]:
    tally = Tally(check=assignment.check, alpha=assignment.alpha)
    before = bench.counter.spent
    limit = min(len(bench), assignment.check.max_images or len(bench))
    for start, stop in _rounds(limit):
        charged = budget.charged
        # Of the first round only the least that it can cost is known.
        per_image = charged / start if start else assignment.check.cost.least
        finding: Finding | None = None
        view = bench.view(start, stop)
        if budget.limit is None or charged + per_image * (stop - start) <= budget.limit:
            finding = _affordable(view, explainer, assignment.check, budget)
        if finding is None:
            tally.stopped = (
                f"The budget of {budget.limit} evaluations does not hold another round "
                f"({charged} spent on {start} images)."
            )
            break
        tally.add(view.images, finding)
        if assignment.progress is not None:
            assignment.progress(stop, limit, (bench.counter.spent - before).model)
        if tally.decided and not assignment.to_the_end:
            break
    return tally.fields()


def _affordable(
    view: Bench, explainer: NamedExplainer, check: Check, budget: Budget
) -> Finding | None:
    """The finding on one round; None where the budget ended within it: it is no finding then."""
    try:
        finding = _round(view, explainer, check)
    except Exception:
        # A guest may have caught the refusal and raised something of its own.
        if budget.refused:
            return None
        raise
    return None if budget.refused else finding


def _rounds(images: int) -> Iterator[tuple[int, int]]:
    """The first 32 images, then as many again as there were: 32, 64, 128, ..."""
    start, stop = 0, min(ROUND, images)
    while start < images:
        # One image alone would be a round without a null: there is no other image's map in it.
        stop = images if images - stop == 1 else stop
        yield start, stop
        start, stop = stop, min(2 * stop, images)


def _round(bench: Bench, explainer: NamedExplainer, check: Check) -> Finding:
    """The finding on one round of images, decided in float64 where float32 says it fails."""
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
    if not tells(decided.values, decided.limits).any():
        return _noted(decided, f"Beyond the limit in {dtype}, but no image can tell in float64.")
    return _noted(decided, f"Decided in float64: the {dtype} difference is rounding.")


def _noted(finding: Finding, note: str) -> Finding:
    return replace(finding, notes=(*finding.notes, note))


def as_expected(verdict: Verdict, reason: str) -> Verdict:
    """Turn a failure that was announced into xfailed, and a pass in its place into xpassed.

    Args:
        verdict: of a check that was expected to fail.
        reason: why it was.
    """
    if verdict.outcome == "failed":
        text = f"Expected to fail: {reason}. {verdict.reason}".strip()
        return replace(verdict, outcome="xfailed", reason=text)
    if verdict.outcome == "passed":
        text = f"Expected to fail ({reason}) but passed: remove the expected failure."
        return replace(verdict, outcome="xpassed", reason=f"{text} {verdict.reason}".strip())
    return verdict
