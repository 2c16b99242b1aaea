"""Collects the findings of a check, round by round, and decides as soon as the outcome is certain.

A check is judged in one of three ways.

- "exact": one image beyond its limit refutes the claim.
- "mean": a sequential test of the mean of value minus limit.
- "paired": a sequential sign test, for limits that are measured on the same image. The figure is
  the share of images whose value is above their own limit, and its limit is one half. An image
  exactly on its limit counts one half, which does not move the test. The claim is that more images
  are on the right side of their limit than on the wrong side.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_xai.core.finding import Finding, comparable, within_limit, worst_image
from pytest_xai.core.packed_tensors import packed
from pytest_xai.core.verdict import finite
from pytest_xai.registry import Check
from pytest_xai.statistics.sequential import MeanDecision, decide_mean

__all__ = ["Decision", "broken"]

_NONE = torch.zeros(0, dtype=torch.float64)
# Value and limit may be float32 sums in different orders. Closer than this they count as equal.
_EQUAL = 1e-6


def broken(finding: Finding, check: Check) -> bool:
    """Return whether an image that can be judged is beyond its limit."""
    beyond = ~within_limit(finding.values, finding.limits, check.direction)
    return bool((beyond & comparable(finding.values, finding.limits)).any())


@dataclass(kw_only=True, slots=True)
class Decision:
    """The findings so far, and the outcome that they allow.

    Attributes:
        check: the check.
        alpha: significance level of a check that is judged by a sequential test.
        images: indices of the images that the check has seen.
        rounds: one finding for each round.
        stopped: why no further round was started; empty unless the budget ended the check.
        mean: the result of the sequential test on all values so far, with its e-values.
        interval: confidence interval of the figure, for a check judged by a sequential test.
        outcome: "passed", "failed" or "undecided".
    """

    check: Check
    alpha: float
    images: list[int] = field(default_factory=list)
    rounds: list[Finding] = field(default_factory=list)
    stopped: str = ""
    mean: MeanDecision | None = None
    interval: tuple[float, float] | None = None
    outcome: str = "undecided"

    @property
    def decided(self) -> bool:
        """Whether the outcome is certain: no further round can change it."""
        return self.outcome != "undecided"

    def add(self, images: list[int], finding: Finding) -> None:
        """Add the finding on one round of images."""
        self.images += images
        self.rounds.append(finding)
        if self.check.judged == "exact":
            if broken(finding, self.check):
                self.outcome = "failed"
        else:
            self._test()

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
        """Which images can be judged, BoolTensor (n,)."""
        return comparable(self.values, self.limits)

    @property
    def above(self) -> Tensor:
        """1 above the limit, 0 below, 1/2 on it, of images that can be judged, float64 (m,)."""
        values, limits = self.values[self.usable], self.limits[self.usable]
        sides = (values > limits).double()
        return torch.where(torch.isclose(values, limits, rtol=_EQUAL, atol=0.0), 0.5, sides)

    def _test(self) -> None:
        """Test on which side of its limit the true mean of the figure lies."""
        if self.check.judged == "paired":
            scores, spread, threshold, shift = self.above, (0.0, 1.0), 0.5, 0.0
            least, most = spread
        else:
            scores, threshold = (self.values - self.limits)[self.usable], 0.0
            least, most = self.rounds[-1].value_range
            lowest, highest = self.rounds[-1].limit_range
            spread = (least - highest, most - lowest)
            shift = float(self.limits[self.usable].mean())
        self.mean = decide_mean(
            scores.numpy().astype(np.float64), spread=spread, threshold=threshold, alpha=self.alpha
        )
        if len(scores):
            low, high = self.mean.interval
            self.interval = (max(shift + low, least), min(shift + high, most))
        kept = 1 if self.check.direction == ">=" else -1
        if self.mean.sign and not self.decided:
            self.outcome = "passed" if self.mean.sign == kept else "failed"

    def _figure(self, place: int | None) -> tuple[float | None, float | None]:
        """Return figure and limit of the worst image, of the mean, or of the share above."""
        if place is None:
            return None, None
        if self.check.judged == "exact":
            return float(self.values[place]), float(self.limits[place])
        if self.check.judged == "paired":
            return float(self.above.mean()), 0.5
        return float(self.values[self.usable].mean()), float(self.limits[self.usable].mean())

    def fields(self) -> dict[str, Any]:
        """Return the fields of the verdict that follow from the rounds."""
        values, limits, usable = self.values, self.limits, self.usable
        count = int(usable.sum())
        place = worst_image(torch.where(usable, values, torch.nan), limits, self.check.direction)
        if self.check.judged == "exact" and self.outcome == "undecided":
            self.outcome = "passed" if count and not self.stopped else "undecided"
        figure, limit = self._figure(place)
        failed = self.outcome == "failed"
        cause = self._cause() if failed else ""
        return {
            "outcome": self.outcome,
            "figure": figure,
            "limit": limit,
            "interval": self.interval,
            "images": count,
            "summary": self._summary(count, cause),
            "cause": cause,
            "notes": tuple(self._notes(count)),
            "counterexample": self._counterexample(place) if failed else None,
            "tensors": self._tensors(place) if failed else {},
        }

    def _summary(self, count: int, cause: str) -> str:
        """Say why the outcome is what it is, unless the cause of a failure says it."""
        if self.outcome == "failed" and not cause:
            return "The figure is beyond its limit."
        if self.outcome != "undecided":
            return ""
        if self.stopped:
            return self.stopped
        if not count:
            return " ".join(["No image could be judged.", *self._left_out()])
        images = "1 image is" if count == 1 else f"{count} images are"
        return f"{images} too few for a decision at significance level {self.alpha:.2g}."

    def _cause(self) -> str:
        """Return the likely cause that the last round with a cause names; empty: none does."""
        return next((f.cause for f in reversed(self.rounds) if f.cause), "")

    def _left_out(self) -> list[str]:
        """Say how many images were not counted, by reason."""
        left_out: Counter[str] = Counter()
        for finding in self.rounds:
            left_out.update({why: n for why, n in finding.left_out.items() if n})
        return [f"{_images(n)} left out: {why}." for why, n in left_out.items()]

    def _notes(self, count: int) -> list[str]:
        noted = dict.fromkeys(note for f in self.rounds for note in f.notes)
        return [*(self._left_out() if count else []), *self._means(), *noted]

    def _means(self) -> list[str]:
        """Say what a figure over all images was computed from: counts and means."""
        if self.check.judged == "exact" or not self.usable.any():
            return []
        sentences, facts = [], self._facts()
        if self.check.judged == "paired":
            above = self.above
            more, equal = int((above == 1).sum()), int((above == 0.5).sum())
            sentences.append(
                f"{more} of {_images(len(above))} {'is' if more == 1 else 'are'} above their own "
                f"limit{f', {equal} on it' if equal else ''}."
            )
            own = {"value": self.values, "limit": self.limits}
            facts = {name: own[name].where(self.usable, torch.nan) for name in own} | facts
        means = [
            f"{name} {float(values[~torch.isnan(values)].mean()):.3g}"
            for name, values in facts.items()
            if not torch.isnan(values).all()
        ]
        return [*sentences, *([f"Means over the images: {', '.join(means)}."] if means else [])]

    def _facts(self) -> dict[str, Tensor]:
        def of(finding: Finding, name: str) -> Tensor:
            values = finding.facts.get(name, torch.full_like(finding.values, torch.nan))
            return values.detach().double().cpu()

        names = dict.fromkeys(name for f in self.rounds for name in f.facts)
        return {name: torch.cat([of(f, name) for f in self.rounds]) for name in names}

    def _counterexample(self, place: int | None) -> dict[str, Any]:
        assert place is not None  # a failed check has an image that can be judged
        attacked = self._tensors(place).get("adversarial input")
        return {
            "image": self.images[place],
            "figure": finite(float(self.values[place])),
            "limit": finite(float(self.limits[place])),
            "cause": self._cause() or None,
            "facts": {name: finite(float(value[place])) for name, value in self._facts().items()},
            # A reader of the report can look at it without running anything again.
            **({} if attacked is None else {"adversarial_input": packed(attacked)}),
        }

    def _tensors(self, place: int | None) -> dict[str, Tensor]:
        assert place is not None
        places = [(finding, i) for finding in self.rounds for i in range(len(finding.values))]
        finding, position = places[place]
        return {name: tensor[position].detach().cpu() for name, tensor in finding.tensors.items()}


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
