"""Runs one check until its verdict is certain."""

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_xai.bench import ROUND, Bench
from pytest_xai.errors import GuestError, InvalidArgument, NotApplicable, XaiError
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Check
from pytest_xai.sequential import decide_mean
from pytest_xai.verdict import Finding, Verdict, holds, tells, worst

__all__ = ["Assignment", "judge"]

_NONE = torch.zeros(0, dtype=torch.float64)

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
    tally = _Tally(check=assignment.check, alpha=assignment.alpha)
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
        tally.add(_round(bench.view(start, stop), explainer, assignment.check))
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Round:
    images: list[int]
    finding: Finding


def _round(bench: Bench, explainer: NamedExplainer, check: Check) -> _Round:
    """The finding on one round of images, decided in float64 where float32 says it fails."""
    finding = _found(bench, explainer, check)
    if check.arbitrated and bench.inputs.dtype != torch.float64 and _broken(finding, check):
        finding = _arbitrate(bench, explainer, check, finding)
    return _Round(images=bench.images, finding=finding)


def _found(bench: Bench, explainer: NamedExplainer, check: Check) -> Finding:
    finding = check.function(bench, explainer)
    if finding.values.shape != (len(bench),):
        got = f"shape {tuple(finding.values.shape)}"
        expected = f"one figure per image: ({len(bench)},)"
        raise InvalidArgument.of("values of the finding", got=got, expected=expected)
    return finding


def _broken(finding: Finding, check: Check) -> bool:
    """Whether an image that can tell is beyond its limit."""
    beyond = ~holds(finding.values, finding.limits, check.direction)
    return bool((beyond & tells(finding.values, finding.limits)).any())


def _arbitrate(bench: Bench, explainer: NamedExplainer, check: Check, finding: Finding) -> Finding:
    dtype = str(bench.inputs.dtype).removeprefix("torch.")
    try:
        decided = _found(bench.double(), explainer, check)
    except XaiError as error:
        note = f"Judged in {dtype}: it could not be decided in float64 ({error})."
        return _noted(finding, note)
    if _broken(decided, check):
        return _noted(decided, "Confirmed in float64.")
    if not tells(decided.values, decided.limits).any():
        return _noted(decided, f"Beyond the limit in {dtype}, but no image can tell in float64.")
    return _noted(decided, f"Decided in float64: the {dtype} difference is rounding.")


def _noted(finding: Finding, note: str) -> Finding:
    return replace(finding, notes=(*finding.notes, note))


@dataclass(kw_only=True, slots=True)
class _Tally:
    """What the rounds have shown so far."""

    check: Check
    alpha: float
    images: list[int] = field(default_factory=list)
    rounds: list[Finding] = field(default_factory=list)
    stopped: str = ""
    interval: tuple[float, float] | None = None
    outcome: str = "undecided"

    @property
    def decided(self) -> bool:
        return self.outcome != "undecided"

    def add(self, result: _Round) -> None:
        self.images += result.images
        self.rounds.append(result.finding)
        if self.check.judged == "exact":
            if _broken(result.finding, self.check):
                self.outcome = "failed"
        else:
            self._weigh()

    @property
    def values(self) -> Tensor:
        return torch.cat([_NONE, *(f.values.detach().double().cpu() for f in self.rounds)])

    @property
    def limits(self) -> Tensor:
        return torch.cat(
            [
                _NONE,
                *(
                    torch.as_tensor(f.limits, dtype=torch.float64).cpu().expand(len(f.values))
                    for f in self.rounds
                ),
            ]
        )

    @property
    def usable(self) -> Tensor:
        return tells(self.values, self.limits)

    def _weigh(self) -> None:
        """Test whether the mean of the values keeps the mean of the limits."""
        least, most = self.rounds[-1].value_range
        lowest, highest = self.rounds[-1].limit_range
        excess = (self.values - self.limits)[self.usable].numpy().astype(np.float64)
        spread = (least - highest, most - lowest)
        decision = decide_mean(excess, spread=spread, alpha=self.alpha)
        if len(excess):
            middle = float(self.limits[self.usable].mean())
            low, high = decision.interval
            self.interval = (max(middle + low, least), min(middle + high, most))
        kept = 1 if self.check.direction == ">=" else -1
        if decision.sign:
            self.outcome = "passed" if decision.sign == kept else "failed"

    def fields(self) -> dict[str, Any]:
        """The verdict's fields that follow from the rounds."""
        values, limits, usable = self.values, self.limits, self.usable
        count = int(usable.sum())
        place = worst(torch.where(usable, values, torch.nan), limits, self.check.direction)
        if self.check.judged == "exact":
            if self.outcome == "undecided" and count and not self.stopped:
                self.outcome = "passed"
            figure = None if place is None else float(values[place])
            limit = None if place is None else float(limits[place])
        else:
            figure = float(values[usable].mean()) if count else None
            limit = float(limits[usable].mean()) if count else None
        failed = self.outcome == "failed"
        return {
            "outcome": self.outcome,
            "figure": figure,
            "limit": limit,
            "interval": self.interval,
            "images": count,
            "reason": self._reason(count),
            "counterexample": self._counterexample(place) if failed else None,
            "tensors": self._tensors(place) if failed else {},
        }

    def _reason(self, count: int) -> str:
        sentences: list[str] = []
        if self.outcome == "failed":
            causes = [f.cause for f in self.rounds if f.cause]
            sentences.append(causes[-1] if causes else "The figure is beyond its limit.")
        elif self.outcome == "undecided":
            sentences.append(
                self.stopped
                or (
                    f"{count} images do not decide it at alpha {self.alpha:.2g}."
                    if count
                    else "No image can tell."
                )
            )
        left_out: Counter[str] = Counter()
        for finding in self.rounds:
            left_out.update({why: n for why, n in finding.left_out.items() if n})
        sentences += [f"{n} left out: {why}." for why, n in left_out.items()]
        sentences += self._means()
        sentences += list(dict.fromkeys(note for f in self.rounds for note in f.notes))
        return " ".join(sentences)

    def _means(self) -> list[str]:
        """For means, the means of the facts: the numbers that the limit came from."""
        if self.check.judged == "exact" or not self.usable.any():
            return []
        facts = [
            f"{name} {float(values[~torch.isnan(values)].mean()):.3g}"
            for name, values in self._facts().items()
            if not torch.isnan(values).all()
        ]
        return [f"Means: {', '.join(facts)}."] if facts else []

    def _facts(self) -> dict[str, Tensor]:
        def of(finding: Finding, name: str) -> Tensor:
            values = finding.facts.get(name, torch.full_like(finding.values, torch.nan))
            return values.detach().double().cpu()

        names = dict.fromkeys(name for f in self.rounds for name in f.facts)
        return {name: torch.cat([of(f, name) for f in self.rounds]) for name in names}

    def _counterexample(self, place: int | None) -> dict[str, Any]:
        assert place is not None  # what failed has an image that can tell
        return {
            "image": self.images[place],
            "figure": _finite(self.values[place]),
            "limit": _finite(self.limits[place]),
            "cause": next((f.cause for f in reversed(self.rounds) if f.cause), None),
            "facts": {name: _finite(values[place]) for name, values in self._facts().items()},
        }

    def _tensors(self, place: int | None) -> dict[str, Tensor]:
        assert place is not None
        places = [(finding, i) for finding in self.rounds for i in range(len(finding.values))]
        finding, position = places[place]
        return {name: tensor[position].detach().cpu() for name, tensor in finding.tensors.items()}


def _finite(value: Tensor) -> float | None:
    return float(value) if torch.isfinite(value) else None


def _as_expected(fields: dict[str, Any], expected: str | None) -> dict[str, Any]:
    """Turn a failure that was announced into xfailed, and a pass in its place into xpassed."""
    if expected is None or fields["outcome"] not in {"failed", "passed"}:
        return fields
    if fields["outcome"] == "failed":
        reason = f"Expected to fail: {expected}. {fields['reason']}".strip()
        return {**fields, "outcome": "xfailed", "reason": reason}
    reason = f"Expected to fail ({expected}) but passed: remove the expected failure."
    return {**fields, "outcome": "xpassed", "reason": f"{reason} {fields['reason']}".strip()}
