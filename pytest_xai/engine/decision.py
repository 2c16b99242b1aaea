"""Adds up the rounds of one check until its verdict is certain, and says what it is.

A check is judged in one of three ways. "exact": one image beyond its limit refutes the claim.
"mean": a sequential test of the mean of value less limit. "paired": a sequential sign test, for
limits that are measured on the same image. Its figure is the share of images whose value is above
their own limit, its limit one half; an image on its limit counts half, which is to bet nothing on
it: the claim is that more images are on the right side of their limit than on the wrong one.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_xai.core.verdict import Finding, holds, packed, tells, worst
from pytest_xai.registry import Check
from pytest_xai.statistics.sequential import MeanDecision, decide_mean

__all__ = ["Tally", "broken"]

_NONE = torch.zeros(0, dtype=torch.float64)
# Value and limit may come from sums in another order, in float32: as near as this they are equal.
_EQUAL = 1e-6


def broken(finding: Finding, check: Check) -> bool:
    """Whether an image that can tell is beyond its limit."""
    beyond = ~holds(finding.values, finding.limits, check.direction)
    return bool((beyond & tells(finding.values, finding.limits)).any())


@dataclass(kw_only=True, slots=True)
class Tally:
    """What the rounds have shown so far.

    Attributes:
        check: which check it is.
        alpha: level of a check judged by a sequential test.
        images: indices of the images looked at.
        rounds: a finding for each round.
        stopped: why no further round was begun, where that was not by itself.
        decision: what a sequential test says of all values so far, with its e-values.
        interval: where the figure's true mean lies, for a check judged by a sequential test.
        outcome: "passed", "failed" or "undecided".
    """

    check: Check
    alpha: float
    images: list[int] = field(default_factory=list)
    rounds: list[Finding] = field(default_factory=list)
    stopped: str = ""
    decision: MeanDecision | None = None
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

    @property
    def above(self) -> Tensor:
        """Of the images that can tell: 1 above the limit, 0 below, 1/2 on it, float64 (m,)."""
        values, limits = self.values[self.usable], self.limits[self.usable]
        sides = (values > limits).double()
        return torch.where(torch.isclose(values, limits, rtol=_EQUAL, atol=0.0), 0.5, sides)

    def _weigh(self) -> None:
        """Test on which side of its limit the figure's true mean lies."""
        if self.check.judged == "paired":
            scores, spread, threshold, shift = self.above, (0.0, 1.0), 0.5, 0.0
            least, most = spread
        else:
            scores, threshold = (self.values - self.limits)[self.usable], 0.0
            least, most = self.rounds[-1].value_range
            lowest, highest = self.rounds[-1].limit_range
            spread = (least - highest, most - lowest)
            shift = float(self.limits[self.usable].mean())
        self.decision = decide_mean(
            scores.numpy().astype(np.float64), spread=spread, threshold=threshold, alpha=self.alpha
        )
        if len(scores):
            low, high = self.decision.interval
            self.interval = (max(shift + low, least), min(shift + high, most))
        kept = 1 if self.check.direction == ">=" else -1
        if self.decision.sign and not self.decided:
            self.outcome = "passed" if self.decision.sign == kept else "failed"

    def _figure(self, place: int | None) -> tuple[float | None, float | None]:
        """Figure and limit: of the worst image, of the mean, or of the share above their limits."""
        if place is None:
            return None, None
        if self.check.judged == "exact":
            return float(self.values[place]), float(self.limits[place])
        if self.check.judged == "paired":
            return float(self.above.mean()), 0.5
        return float(self.values[self.usable].mean()), float(self.limits[self.usable].mean())

    def fields(self) -> dict[str, Any]:
        """The verdict's fields that follow from the rounds."""
        values, limits, usable = self.values, self.limits, self.usable
        count = int(usable.sum())
        place = worst(torch.where(usable, values, torch.nan), limits, self.check.direction)
        if self.check.judged == "exact" and self.outcome == "undecided":
            self.outcome = "passed" if count and not self.stopped else "undecided"
        figure, limit = self._figure(place)
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
        """What a figure over all images came from: how many are above, and means."""
        if self.check.judged == "exact" or not self.usable.any():
            return []
        sentences, facts = [], self._facts()
        if self.check.judged == "paired":
            above = self.above
            more, equal = int((above == 1).sum()), int((above == 0.5).sum())
            sentences.append(
                f"The figure is the share of images above their own limit: {more} of {len(above)}"
                f"{f', {equal} on it' if equal else ''}."
            )
            own = {"value": self.values, "limit": self.limits}
            facts = {name: own[name].where(self.usable, torch.nan) for name in own} | facts
        means = [
            f"{name} {float(values[~torch.isnan(values)].mean()):.3g}"
            for name, values in facts.items()
            if not torch.isnan(values).all()
        ]
        return [*sentences, *([f"Means: {', '.join(means)}."] if means else [])]

    def _facts(self) -> dict[str, Tensor]:
        def of(finding: Finding, name: str) -> Tensor:
            values = finding.facts.get(name, torch.full_like(finding.values, torch.nan))
            return values.detach().double().cpu()

        names = dict.fromkeys(name for f in self.rounds for name in f.facts)
        return {name: torch.cat([of(f, name) for f in self.rounds]) for name in names}

    def _counterexample(self, place: int | None) -> dict[str, Any]:
        assert place is not None  # what failed has an image that can tell
        attacked = self._tensors(place).get("adversarial input")
        return {
            "image": self.images[place],
            "figure": _finite(self.values[place]),
            "limit": _finite(self.limits[place]),
            "cause": next((f.cause for f in reversed(self.rounds) if f.cause), None),
            "facts": {name: _finite(values[place]) for name, values in self._facts().items()},
            # So that whoever reads the report can look at it without running anything again.
            **({} if attacked is None else {"adversarial_input": packed(attacked)}),
        }

    def _tensors(self, place: int | None) -> dict[str, Tensor]:
        assert place is not None
        places = [(finding, i) for finding in self.rounds for i in range(len(finding.values))]
        finding, position = places[place]
        return {name: tensor[position].detach().cpu() for name, tensor in finding.tensors.items()}


def _finite(value: Tensor) -> float | None:
    return float(value) if torch.isfinite(value) else None
