"""From figures to a verdict: the one rule for passed, failed and undecided.

Every comparison is written so that not-a-number never passes.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "OUTCOMES",
    "Evaluations",
    "Finding",
    "Verdict",
    "holds",
    "packed",
    "tells",
    "unpacked",
    "worst",
]

OUTCOMES = ("passed", "failed", "undecided", "not_applicable", "error", "xfailed", "xpassed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check found on the images it was given.

    Attributes:
        values: the figure per image, (n,); NaN: the image cannot tell and does not count.
        limits: the limit per image, (n,), or one for all.
        value_range: smallest and largest possible value, for checks judged by a mean.
        limit_range: smallest and largest possible limit, for the same.
        facts: further numbers per image, (n,) each, shown for the worst image and on average.
        tensors: what pictures need, (n, ...) each, kept for the worst image.
        left_out: images that were not counted, by reason.
        cause: the likely cause should the check fail.
        notes: sentences that belong to the verdict whatever it is.
    """

    values: Tensor
    limits: Tensor | float = 0.0
    value_range: tuple[float, float] = (0.0, 1.0)
    limit_range: tuple[float, float] = (0.0, 1.0)
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    cause: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluations:
    """Model evaluations, one per image, and calls of the explainer."""

    forward: int = 0
    backward: int = 0
    explainer_calls: int = 0

    def __sub__(self, other: "Evaluations") -> "Evaluations":
        return Evaluations(
            forward=self.forward - other.forward,
            backward=self.backward - other.backward,
            explainer_calls=self.explainer_calls - other.explainer_calls,
        )

    @property
    def model(self) -> int:
        """Forward and backward evaluations together: what a budget counts."""
        return self.forward + self.backward


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The outcome of one check on one explainer and one subject: a row of the JSON report.

    Attributes:
        asserted: it can fail the run.
        outcome: one of `OUTCOMES`.
        figure: of the worst image for exact checks, the mean for checks judged by a mean, the share
            of images above their own limit for paired ones.
        limit: what the figure is held to; of the same image, or the mean.
        direction: "<=" or ">=", how the figure has to stand to the limit.
        interval: where the figure lies for all images that could have come, at the verdict's level.
        images: images that counted.
        reason: sentences; empty only for a plain pass.
        counterexample: the worst image: index, likely cause, numbers.
        reproduce: a shell command or a call that repeats it.
        traceback: of the guest, for the outcome "error".
        tensors: of the worst image, for pictures; not part of the row.
    """

    subject: str
    explainer: str
    check: str
    family: str
    asserted: bool
    outcome: str
    figure: float | None = None
    limit: float | None = None
    direction: str
    interval: tuple[float, float] | None = None
    images: int = 0
    evaluations: Evaluations = Evaluations()
    seconds: float = 0.0
    seed: int = 0
    reason: str = ""
    counterexample: dict[str, Any] | None = None
    reproduce: str = ""
    traceback: str | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def fails_run(self) -> bool:
        """Whether the run must fail because of it."""
        return self.asserted and self.outcome in {"failed", "error", "xpassed"}

    def row(self) -> dict[str, Any]:
        """The verdict as a row of the JSON report; numbers that are not finite become None."""
        reason = self.reason
        if self.traceback:
            reason = f"{reason}\n{self.traceback}"
        return {
            "subject": self.subject,
            "explainer": self.explainer,
            "check": self.check,
            "family": self.family,
            "asserted": self.asserted,
            "outcome": self.outcome,
            "figure": _finite(self.figure),
            "limit": _finite(self.limit),
            "direction": self.direction,
            "interval": None if self.interval is None else [_finite(v) for v in self.interval],
            "images": self.images,
            "evaluations": {
                "forward": self.evaluations.forward,
                "backward": self.evaluations.backward,
                "explainer_calls": self.evaluations.explainer_calls,
            },
            "seconds": self.seconds,
            "seed": self.seed,
            "reason": reason,
            "counterexample": self.counterexample,
            "reproduce": self.reproduce,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Verdict":
        """The verdict that a row describes; the traceback stays within the reason."""
        values = dict(row)
        values["evaluations"] = Evaluations(**values["evaluations"])
        if values["interval"] is not None:
            values["interval"] = tuple(values["interval"])
        return cls(**values)


def holds(values: Tensor, limits: Tensor | float, direction: str) -> Tensor:
    """Per image whether the value keeps its limit, BoolTensor (n,); never true for NaN."""
    return values <= limits if direction == "<=" else values >= limits


def tells(values: Tensor, limits: Tensor | float) -> Tensor:
    """Per image whether its value and its limit can be compared, BoolTensor (n,).

    Neither can where one is not-a-number, nor where both are infinite.
    """
    return ~torch.isnan(values - limits)


def worst(values: Tensor, limits: Tensor, direction: str) -> int | None:
    """Position of the image that is furthest beyond its limit, or nearest to it.

    Measured as the ratio of value and limit where the limit is neither zero nor infinite:
    tolerances follow the size of an image's numbers. Images that cannot tell do not count; None
    if there are no others.
    """
    sign = 1.0 if direction == "<=" else -1.0
    has_size = (limits != 0) & torch.isfinite(limits)
    scale = torch.where(has_size, limits.abs(), torch.ones_like(limits))
    excess = sign * (values - limits) / scale
    usable = (~torch.isnan(excess)).nonzero().flatten()
    return int(usable[excess[usable].argmax()]) if len(usable) else None


def packed(tensor: Tensor) -> dict[str, Any]:
    """A tensor as JSON can hold it to the bit: its shape, its dtype and its bytes in base64."""
    values = tensor.detach().cpu().contiguous().flatten()
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "base64": base64.b64encode(values.view(torch.uint8).numpy().tobytes()).decode("ascii"),
    }


def unpacked(entry: Mapping[str, Any]) -> Tensor:
    """The tensor that `packed` made an entry of, such as the adversarial input of a report."""
    data = bytearray(base64.b64decode(entry["base64"]))
    return torch.frombuffer(data, dtype=getattr(torch, entry["dtype"])).reshape(entry["shape"])


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
