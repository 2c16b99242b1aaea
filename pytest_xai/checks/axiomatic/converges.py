"""With more steps the sum of a path integral converges to f(x) - f(x')."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.checks._twins import moved
from pytest_xai.checks.axiomatic._path_points import along_a_path
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_FEW, _MANY = 8, 64
# Points at which the variation along a path is estimated: 32 of them see at least half of it.
_PLACES = along_a_path(32)
_PLACES_NEAR = (0.0, *((node + 0.5) / 6 for node in range(6)), 1.0)
# A path so short that almost no unit changes its sign on it.
_NEAR = 1 / 32
# Libraries store step sizes in float32, whatever the dtype of the model.
_STEP_SIZE = torch.finfo(torch.float32).eps
# Rounding happens in every layer, but perturbed inputs show its effect in the first one only.
_MARGIN = 10
# So many points or perturbations that the largest rounding error is unlikely to be missed.
_MOVED = 32


@check(
    family="axiomatic",
    question="Do the attributions converge to the path integral with more steps?",
    claim="The gap to f(x) - f(x') is at most 3 pi/2 TV/n for n = 8 and n = 64 steps and zero "
    "where f is linear, and swapping the end points of the path gives the negative map.",
    source="sundararajan2017",
    figure="largest gap between an integral and its exact value, in multiples of the bound",
    scope="claimed",
    limit_source="Three times the error bound pi/2 TV/n of a quadrature with n steps, since the "
    "variation TV of the slope along the path is underestimated, plus the rounding error of the "
    "sum. A failure in float32 is repeated in float64, where ten times the change of the outputs "
    "and the slope by rounding of the points is added.",
    cost=Cost(
        forward=len(_PLACES) + len(_PLACES_NEAR) + 3,
        backward=len(_PLACES) + len(_PLACES_NEAR),
        explainer_calls=4,
    ),
    max_images=4,
    arbitrated=True,
)
def converges(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest gap, in multiples of its bound."""
    if explainer.with_steps is None:
        raise NotApplicable(
            "the explainer takes no number of steps: give it a keyword argument steps or n_steps"
        )
    if not explainer.traits.needs_baseline:
        raise NotApplicable(
            "the explainer takes no baseline, so that the check cannot choose its path"
        )
    few, many = (replace(explainer, call=explainer.with_steps(n)) for n in (_FEW, _MANY))
    near = bench.inputs + _NEAR * (bench.baseline - bench.inputs)
    whole = _Path.of(bench, bench.baseline, _PLACES)
    short = _Path.of(bench, near, _PLACES_NEAR)
    spent, maps = [], []
    for each in (few, many):
        before = bench.counter.spent
        maps.append(bench.explain(each, bench.inputs))
        spent.append((bench.counter.spent - before).model)
    back = bench.explain(many, bench.baseline.clone(), baseline=bench.inputs)
    close = bench.explain(few, bench.inputs, baseline=near)
    gaps = {
        "few": whole.gap(maps[0], _FEW),
        "many": whole.gap(maps[1], _MANY),
        "swapped": whole.asymmetry(maps[1], back, _MANY),
    }
    if spent[0] == spent[1]:  # an exact explainer may ignore the number of steps
        gaps["steps"] = gaps["many"][0], whole.rounding(maps[1])
    gaps = whole.steady(gaps) | short.steady({"near": short.gap(close, _FEW)})
    ratios = {name: _ratio(*gaps[name]) for name in _CAUSES if name in gaps}
    if "steps" in ratios:
        ratios["steps"] = torch.where(ratios["steps"] > 1, math.inf, 0.0)
    table = torch.stack(list(ratios.values()))
    exceeded = [name for name, ratio in ratios.items() if (ratio > 1).any()]
    return Finding(
        values=table.amax(0),
        limits=1.0,
        facts=_facts(gaps),
        cause=_CAUSES[exceeded[-1]] if exceeded else "",
    )


# The last one that applies is the most specific.
_CAUSES = {
    "few": f"With {_FEW} steps the gap to f(x) - f(x') exceeds the error bound of an integral.",
    "many": f"With {_MANY} steps the gap to f(x) - f(x') exceeds the error bound of an integral: "
    "the gap does not shrink with the steps. The points may all lie at one end of the path.",
    "near": f"On a path so short that f is linear, {_FEW} steps do not give f(x) - f(x'): the "
    "weights of the steps do not add up to one (one step too many or too few).",
    "swapped": "With the end points swapped the map is not the negative map: the explainer does "
    "not use the baseline as the other end of the path, or its points lie closer to one end.",
    "steps": f"{_FEW} steps and {_MANY} steps need the same number of evaluations: the explainer "
    "ignores the number of steps.",
}


_Pair = tuple[Tensor, Tensor]  # a gap and its bound, (n,) each


@dataclass(frozen=True, kw_only=True, slots=True)
class _Path:
    """The straight path from a baseline to the inputs.

    Attributes:
        bench: the bench with the inputs.
        baseline: start of the path, (n, *shape).
        places: fractions of the path at which the slope is evaluated, from 0 to 1.
        output: f(x), (n,).
        reference: f(x'), (n,).
        variation: total variation of the slope of f along the path, (n,).
        each: sum of the total variations of the terms of the slope, one per feature, (n,).
    """

    bench: Bench
    baseline: Tensor
    places: Sequence[float]
    output: Tensor
    reference: Tensor
    variation: Tensor
    each: Tensor

    @classmethod
    def of(cls, bench: Bench, baseline: Tensor, places: Sequence[float]) -> "_Path":
        """Evaluate the slope at these increasing fractions of the path, which include both ends."""
        delta = bench.inputs - baseline
        terms = [
            (bench.gradients(baseline + place * delta, bench.targets) * delta).double().flatten(1)
            for place in places
        ]
        changes = torch.stack(terms).diff(dim=0)
        return cls(
            bench=bench,
            baseline=baseline,
            places=places,
            output=bench.scores().double(),
            reference=bench.scores(baseline).double(),
            variation=changes.sum(2).abs().sum(0),
            each=changes.abs().sum((0, 2)),
        )

    def rounding(self, maps: Tensor) -> Tensor:
        """Return the rounding error of the sum of the maps, (n,)."""
        size = maps.double().abs().flatten(1).sum(1) + self.output.abs() + self.reference.abs()
        return (self.bench.rounding + _STEP_SIZE) * size

    def steady(self, gaps: Mapping[str, _Pair]) -> dict[str, _Pair]:
        """Return gaps and bounds, the latter with the effect of rounding where that matters.

        Rounding errors inside a layer can be larger than the outputs suggest: a normalisation of
        equal values enlarges their rounding errors some hundred times.
        """
        decides = any((gap > bound).any() for gap, bound in gaps.values())
        if self.bench.inputs.dtype != torch.float64 or not decides:
            return dict(gaps)
        more = _MARGIN * self._unsteadiness()
        return {
            name: (gap, torch.where(gap <= bound + more, bound + more, bound))
            for name, (gap, bound) in gaps.items()
        }

    def _unsteadiness(self) -> Tensor:
        """Return the change of f(x) - f(x') and of the sum of terms by rounding, (n,)."""
        bench, count = self.bench, len(self.bench)
        draws = math.ceil(_MOVED / len(self.places))
        delta = (bench.inputs - self.baseline).repeat(draws + 1, *[1] * (bench.inputs.ndim - 1))
        targets = bench.targets.repeat(draws + 1)
        output, terms = torch.zeros_like(self.output), torch.zeros_like(self.output)
        for place in self.places:
            point = self.baseline + place * delta[:count]
            others = moved(bench, Tensor.clone, point, dtype=point.dtype, each=True)
            points = torch.cat([point, *islice(others, draws)])
            scores = bench.scores(points, targets).unflatten(0, (-1, count))
            parts = (bench.gradients(points, targets) * delta).unflatten(0, (-1, count)).flatten(2)
            output = torch.maximum(output, (scores[1:] - scores[0]).abs().amax(0))
            terms += (parts[1:] - parts[0]).abs().sum(2).amax(0) / len(self.places)
        return 2 * output + terms

    def gap(self, maps: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Return the gap to f(x) - f(x') and its bound, (n,) each."""
        gap = (maps.double().flatten(1).sum(1) - (self.output - self.reference)).abs()
        return gap, _bound(self.variation, steps) + self.rounding(maps)

    def asymmetry(self, maps: Tensor, back: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Return the sum of |R(x, x') + R(x', x)| and its bound, (n,) each."""
        apart = (maps.double() + back.double()).abs().flatten(1).sum(1)
        return apart, 2 * _bound(self.each, steps) + 2 * self.rounding(maps)


def _bound(variation: Tensor, steps: int) -> Tensor:
    return 3 * math.pi / 2 * variation / steps


def _ratio(gap: Tensor, bound: Tensor) -> Tensor:
    """Return the gap in multiples of its bound, and 0 where the gap is 0, whatever the bound."""
    return torch.where(gap == 0, 0.0, gap / bound)


def _facts(gaps: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    words = {
        "few": f"{_FEW} steps",
        "many": f"{_MANY} steps",
        "near": "short path",
        "swapped": "swapped ends",
    }
    return {
        f"{what}, {words[name]}": value
        for name in words
        for what, value in zip(("gap", "bound"), gaps[name], strict=True)
    }
