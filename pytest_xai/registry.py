"""The table of checks: what a check is, and the decorator that enters one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_xai.errors import InvalidArgument, UnknownName

if TYPE_CHECKING:
    from pytest_xai.bench.bench import Bench
    from pytest_xai.core.finding import Finding
    from pytest_xai.protocol import NamedExplainer

__all__ = ["CHECKS", "FAMILIES", "Check", "Cost", "check", "find"]

FAMILIES = (
    "contract",
    "axiomatic",
    "randomisation",
    "robustness",
    "adversarial",
    "faithfulness",
    "localisation",
    "complexity",
)
_SCOPES = ("universal", "claimed", "quality", "probe")
_JUDGED = ("exact", "mean", "paired")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a check costs per image: of one that iterates or integrates, its first step.

    Attributes:
        forward: model evaluations of its own, beside the explainer's.
        backward: backward evaluations of its own.
        explainer_calls: maps that it asks of the explainer.
        per_layer: so many more maps for every layer of the model.
    """

    forward: int = 0
    backward: int = 0
    explainer_calls: int = 1
    per_layer: int = 0

    @property
    def least(self) -> int:
        """Model evaluations per image at the very least: a map costs one or more."""
        return self.forward + self.backward + self.explainer_calls

    def __str__(self) -> str:
        parts = [
            f"{count} {what}"
            for count, what in ((self.forward, "forward"), (self.backward, "backward"))
            if count
        ]
        per_layer = [f"{_maps(self.per_layer)} per layer"] if self.per_layer else []
        return " + ".join([*parts, _maps(self.explainer_calls), *per_layer])


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One verification with its metadata.

    Attributes:
        name: the function's name.
        question: what it answers, in plain words.
        claim: a sentence that can be false.
        source: key of the paper in docs/references.bib.
        figure: what the figure is, in words that can stand before a number, such as "rank
            correlation with the map of another class"; empty: reports call it "figure".
        unit: of the figure, such as "pixels"; empty: it has none.
        direction: "<=" or ">=", how a figure has to stand to its limit.
        scope: "universal": asserted for every explainer; "claimed": for those that claim it;
            "quality": for all, against a limit from the check's own controls; "probe": for all,
            on subjects whose right maps are known, and only where it is asked for by name.
        judged: "exact": one violation suffices; "mean": a sequential test of the mean; "paired": a
            sequential sign test of the images against their own limits.
        limit_source: where the limit comes from.
        cost: per image.
        max_images: at most so many images are looked at; None: as many as the verdict needs.
        arbitrated: a float32 failure is decided on float64 copies before it counts.
        marks: further pytest markers, "slow" and "gpu".
        function: maps (bench, explainer) to a `Finding`.
    """

    name: str
    family: str
    question: str
    claim: str
    source: str
    figure: str = ""
    unit: str = ""
    direction: str
    scope: str
    judged: str
    limit_source: str
    cost: Cost
    max_images: int | None
    arbitrated: bool
    marks: tuple[str, ...]
    function: Callable[["Bench", "NamedExplainer"], "Finding"]

    @property
    def figure_name(self) -> str:
        """What the figure of a verdict is: of one image, a mean, or a share of images."""
        if not self.figure or self.judged == "exact":
            return self.figure
        if self.judged == "mean":
            return f"mean over the images of the {self.figure}"
        return f"share of images above their own limit of the {self.figure}"

    @property
    def labels(self) -> dict[str, Any]:
        """The fields of a verdict that follow from the check alone."""
        half = "Half of the images. Limit of each image: " if self.judged == "paired" else ""
        return {
            "check": self.name,
            "family": self.family,
            "direction": self.direction,
            "claim": self.claim,
            "figure_name": self.figure_name,
            # A share of images has no unit.
            "unit": "" if self.judged == "paired" else self.unit,
            "limit_source": half + self.limit_source,
        }


CHECKS: dict[str, Check] = {}


def check(
    *,
    family: str,
    question: str,
    claim: str,
    source: str,
    scope: str,
    limit_source: str,
    figure: str = "",
    unit: str = "",
    direction: str = "<=",
    judged: str = "exact",
    cost: Cost = Cost(),
    max_images: int | None = None,
    arbitrated: bool = False,
    marks: tuple[str, ...] = (),
) -> Callable[
    [Callable[["Bench", "NamedExplainer"], "Finding"]],
    Callable[["Bench", "NamedExplainer"], "Finding"],
]:
    """Enter a function (bench, explainer) -> Finding in the table under its own name.

    The arguments are the fields of `Check`, which see.

    Raises:
        InvalidArgument: a field has a value that does not exist, or the name is taken by
            a function elsewhere.
    """
    for argument, value, known in (
        ("family", family, FAMILIES),
        ("scope", scope, _SCOPES),
        ("judged", judged, _JUDGED),
        ("direction", direction, ("<=", ">=")),
    ):
        if value not in known:
            raise InvalidArgument.of(argument, got=repr(value), expected=f"one of {known}")

    def enter(
        function: Callable[["Bench", "NamedExplainer"], "Finding"],
    ) -> Callable[["Bench", "NamedExplainer"], "Finding"]:
        name = function.__name__
        taken = CHECKS.get(name)
        if taken is not None and _place(taken.function) != _place(function):
            raise InvalidArgument(
                f"check {name!r} is defined twice: in {_place(taken.function)} and in "
                f"{_place(function)}"
            )
        CHECKS[name] = Check(
            name=name,
            family=family,
            question=question,
            claim=claim,
            source=source,
            figure=figure,
            unit=unit,
            direction=direction,
            scope=scope,
            judged=judged,
            limit_source=limit_source,
            cost=cost,
            max_images=max_images,
            arbitrated=arbitrated,
            marks=marks,
            function=function,
        )
        return function

    return enter


def find(name: str) -> Check:
    """The check of that name.

    Raises:
        UnknownName: lists the names there are.
    """
    if name not in CHECKS:
        raise UnknownName.among("check", name, CHECKS)
    return CHECKS[name]


def _maps(count: int) -> str:
    return "1 map" if count == 1 else f"{count} maps"


def _place(function: Callable[..., object]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
