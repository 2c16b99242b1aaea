"""Runs one check until its verdict is certain."""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from pytest_xai.bench import ROUND, Bench
from pytest_xai.errors import GuestError, InvalidArgument, NotApplicable, XaiError
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Check
from pytest_xai.tally import Tally, broken
from pytest_xai.verdict import Finding, Verdict, tells

__all__ = ["Assignment", "judge"]

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One check to run on one explainer.

    Attributes:
        check: what to run.
        asserted: its failure fails the run.
        alpha: level of a check judged by a mean.
        budget: model evaluations it may spend; None: no limit.
        expected: reason why it is expected to fail; None: it is not.
        reproduce: a command or call that repeats it.
        progress: called with (images done, images there are, evaluations spent).
    """

    check: Check
    asserted: bool
    alpha: float = 0.001
    budget: int | None = None
    expected: str | None = None
    reproduce: str = ""
    progress: Progress | None = None


def judge(bench: Bench, explainer: NamedExplainer, assignment: Assignment) -> Verdict:
    """Run a check on an explainer in rounds of images, until its verdict is certain.

    Never raises for what the guests do: the verdict says it.
    """
    started, before = time.perf_counter(), bench.counter.spent
    try:
        fields = _outcome(bench, explainer, assignment)
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
    return Verdict(
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
        **_as_expected(fields, assignment.expected),
    )


def _outcome(bench: Bench, explainer: NamedExplainer, assignment: Assignment) -> dict[str, Any]:
    tally = Tally(check=assignment.check, alpha=assignment.alpha)
    before = bench.counter.spent
    limit = min(len(bench), assignment.check.max_images or len(bench))
    for start, stop in _rounds(limit):
        spent = (bench.counter.spent - before).model
        # Of the first round only the least that it can cost is known.
        per_image = spent / start if start else assignment.check.cost.least
        if assignment.budget is not None and spent + per_image * (stop - start) > assignment.budget:
            tally.stopped = (
                f"The budget of {assignment.budget} evaluations does not hold another round "
                f"({spent} spent on {start} images)."
            )
            break
        view = bench.view(start, stop)
        tally.add(view.images, _round(view, explainer, assignment.check))
        if assignment.progress is not None:
            assignment.progress(stop, limit, (bench.counter.spent - before).model)
        if tally.decided:
            break
    return tally.fields()


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


def _as_expected(fields: dict[str, Any], expected: str | None) -> dict[str, Any]:
    """Turn a failure that was announced into xfailed, and a pass in its place into xpassed."""
    if expected is None or fields["outcome"] not in {"failed", "passed"}:
        return fields
    if fields["outcome"] == "failed":
        reason = f"Expected to fail: {expected}. {fields['reason']}".strip()
        return {**fields, "outcome": "xfailed", "reason": reason}
    reason = f"Expected to fail ({expected}) but passed: remove the expected failure."
    return {**fields, "outcome": "xpassed", "reason": f"{reason} {fields['reason']}".strip()}
