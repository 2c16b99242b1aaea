"""Adds up the rounds of one check until its verdict is certain, and says what it is."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_xai.registry import Check
from pytest_xai.sequential import decide_mean
from pytest_xai.verdict import Finding, holds, tells, worst

__all__ = ["Tally", "broken"]

_NONE = torch.zeros(0, dtype=torch.float64)


def broken(finding: Finding, check: Check) -> bool:
    """Whether an image that can tell is beyond its limit."""
    beyond = ~holds(finding.values, finding.limits, check.direction)
    return bool((beyond & tells(finding.values, finding.limits)).any())


@dataclass(kw_only=True, slots=True)
class Tally:
    """What the rounds have shown so far.

    Attributes:
        check: which check it is.
        alpha: level of a check judged by a mean.
        images: indices of the images looked at.
        rounds: a finding for each round.
        stopped: why no further round was begun, where that was not by itself.
        interval: where the figure's true mean lies, for a check judged by a mean.
        outcome: "passed", "failed" or "undecided".
    """

    check: Check
    alpha: float
    images: list[int] = field(default_factory=list)
    rounds: list[Finding] = field(default_factory=list)
    stopped: str = ""
    interval: tuple[float, float] | None = None
    outcome: str = "undecided"

    @property
    def decided(self) -> bool:
        """Whether no further round can change the outcome."""
        return self.outcome != "undecided"

    def add(self, images: list[int], finding: Finding) -> None:
        """Weigh in what the check found on a round of images."""
        self.images += images
        self.rounds.append(finding)
        if self.check.judged == "exact":
            if broken(finding, self.check):
                self.outcome = "failed"
        else:
            self._weigh()

    @property
    def values(self) -> Tensor:
        """The figures of all images so far, float64 (n,)."""
        return torch.cat([_NONE, *(f.values.detach().double().cpu() for f in self.rounds)])

    @property
    def limits(self) -> Tensor:
        """Their limits, float64 (n,)."""
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
        """Which of them can tell, BoolTensor (n,)."""
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
