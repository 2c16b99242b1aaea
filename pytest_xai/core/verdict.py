"""The verdict: the outcome of one check on one explainer and one subject. It needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OUTCOMES", "Evaluations", "Verdict", "finite"]

OUTCOMES = ("passed", "failed", "undecided", "not_applicable", "error", "xfailed", "xpassed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluations:
    """Model evaluations, one per image, and calls of the explainer."""

    forward: int = 0
    backward: int = 0
    explainer_calls: int = 0

    def __add__(self, other: "Evaluations") -> "Evaluations":
        return Evaluations(
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            explainer_calls=self.explainer_calls + other.explainer_calls,
        )

    def __sub__(self, other: "Evaluations") -> "Evaluations":
        return Evaluations(
            forward=self.forward - other.forward,
            backward=self.backward - other.backward,
            explainer_calls=self.explainer_calls - other.explainer_calls,
        )

    @property
    def model(self) -> int:
        """Forward and backward evaluations together: the number that a budget limits."""
        return self.forward + self.backward


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The outcome of one check on one explainer and one subject: a row of the JSON report.

    Attributes:
        asserted: whether it can fail the run.
        outcome: one of `OUTCOMES`.
        claim: the sentence that the check tests.
        figure: of the worst image for exact checks, the mean for checks judged by a mean, the share
            of images above their own limit for paired checks.
        figure_name: what the figure is, in words; empty if the check does not say it.
        unit: of the figure; empty if it has none.
        limit: the limit of the figure: of the same image, or the mean of the limits.
        limit_source: where the limit comes from, in a sentence.
        direction: "<=" or ">=", how the figure has to stand to the limit.
        interval: confidence interval of the figure in the population of images, at the verdict's
            level, for checks judged from a sample.
        images: number of images that counted.
        summary: why the outcome is what it is; empty where the figure and the cause say it.
        cause: the likely cause of a failure; empty if there is none.
        notes: further sentences, such as means over the images.
        counterexample: the worst image: its index, the likely cause, numbers.
        reproduce: a shell command or a call that repeats the check.
        traceback: of the error, for the outcome "error".
        tensors: of the worst image, for pictures; they are not part of the row.
    """

    subject: str
    explainer: str
    check: str
    family: str
    asserted: bool
    outcome: str
    claim: str = ""
    figure: float | None = None
    figure_name: str = ""
    unit: str = ""
    limit: float | None = None
    limit_source: str = ""
    direction: str
    interval: tuple[float, float] | None = None
    images: int = 0
    evaluations: Evaluations = Evaluations()
    seconds: float = 0.0
    seed: int = 0
    summary: str = ""
    cause: str = ""
    notes: tuple[str, ...] = ()
    counterexample: dict[str, Any] | None = None
    reproduce: str = ""
    traceback: str | None = None
    tensors: "Mapping[str, Tensor]" = field(default_factory=dict, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The id of the pytest item that the gate makes of the check."""
        return f"xai::{self.subject}::{self.explainer}::{self.check}"

    @property
    def reason(self) -> str:
        """Summary, cause and notes as one text; empty only for a plain pass."""
        # The message of an error may have many lines, of which the first is a summary.
        head, newline, tail = self.summary.strip().partition("\n")
        others = [part for part in (self.cause, *self.notes) if part]
        if head and others and not head.endswith((".", "!", "?", ":")):
            head += "."
        return " ".join([*([head] if head else []), *others]) + newline + tail

    @property
    def fails_run(self) -> bool:
        """Whether the run must fail because of it."""
        return self.asserted and self.outcome in {"failed", "error", "xpassed"}

    @property
    def sampled(self) -> bool:
        """Whether it is among the verdicts that share the run's alpha."""
        return self.asserted and self.interval is not None

    def row(self) -> dict[str, Any]:
        """Return the verdict as a row of the JSON report; numbers that are not finite are None."""
        skipped = {"tensors", "evaluations", "interval"}
        values = {
            each.name: getattr(self, each.name) for each in fields(self) if each.name not in skipped
        }
        spent = self.evaluations
        text = self.reason if not self.traceback else f"{self.reason}\n{self.traceback}"
        row = {
            **values,
            "interval": None if self.interval is None else list(self.interval),
            "evaluations": {
                "forward": spent.forward,
                "backward": spent.backward,
                "explainer_calls": spent.explainer_calls,
            },
            "reason": text,
        }
        return {key: finite(value) for key, value in row.items()}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Verdict":
        """Return the verdict that a row describes."""
        values = {key: value for key, value in row.items() if key != "reason"}
        values["evaluations"] = Evaluations(**values["evaluations"])
        values["notes"] = tuple(values["notes"])
        if values["interval"] is not None:
            values["interval"] = tuple(values["interval"])
        return cls(**values)


def finite(value: object) -> Any:
    """Return the value with every number that is not finite replaced by None, at any depth."""
    if isinstance(value, float):
        # NaN differs from itself, and infinity minus itself is NaN.
        return value if value - value == 0.0 else None
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return value
