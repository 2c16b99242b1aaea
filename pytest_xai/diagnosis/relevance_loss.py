"""Measure the relevance that a stabiliser, the biases or losses take, in total and per layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.bias_terms import scale_constants, zero_sums
from pytest_xai.core.seeds import seeded
from pytest_xai.diagnosis.location import Measure, Parts
from pytest_xai.diagnosis.suspects import step_name
from pytest_xai.diagnosis.tails import Cut
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer

__all__ = ["Shares", "by_layer", "scales_with_units", "shares", "unbiased_sums"]

# Units in which a stabiliser of usual size is negligible. Powers of two cause no rounding errors.
_UNITS = {torch.float64: 2.0**60, torch.float32: 2.0**40}
# Share of the sums that remains in these units if the maps do not grow with the activations.
_NOTHING = 1e-6
# Number of positions at which the relevance is summed, and of steps that are reported.
_POSITIONS = 12
_REPORTED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """Sums of relevance with scaled activations and without biases, (n,) each.

    All sums are converted back to the units of the original network.

    Attributes:
        unstabilised: sums with activations so large that a stabiliser is negligible.
        shrunk: sums with activations so small that a stabiliser dominates.
        bare: sums of the network without biases, with large activations.
        bare_output: explained outputs of the network without biases.
    """

    unstabilised: Tensor
    shrunk: Tensor
    bare: Tensor
    bare_output: Tensor


def shares(bench: Bench, explainer: NamedExplainer) -> Shares:
    """Sum the relevance for scaled activations, with all biases and without.

    In a network that is positively homogeneous in its inputs and constants (linear layers, ReLU,
    pooling, batch normalisation), scaling inputs and biases by t scales every activation by t. The
    rules are homogeneous as well, except for the epsilon of a stabiliser, whose leak
    R (epsilon s)/(z + epsilon s) (Bach 2015, equation 58) vanishes for large activations. Without
    biases, all relevance that is still missing is lost.

    Args:
        bench: the bench with the images. It costs three maps and three forward passes per image.
        explainer: the explainer of the maps.

    Raises:
        NotApplicable: the network is not positively homogeneous, or its dtype is too small.
        XaiError: the explainer raised, or cannot explain the changed network.
    """
    unit = _UNITS.get(bench.inputs.dtype)
    if unit is None:
        raise NotApplicable(
            f"the range of {bench.inputs.dtype} is too small to scale the activations"
        )
    with seeded(0):
        full, output = _explained(bench, explainer, constants=unit, unit=unit)
        shrunk, _ = _explained(bench, explainer, constants=1 / unit, unit=1 / unit)
        bare, bare_output = _explained(bench, explainer, constants=0.0, unit=unit)
    expected = bench.scores().double()
    largest = bench.logits().double().abs().amax()
    if float((output - expected).abs().max()) > 100 * bench.rounding * float(largest):
        raise NotApplicable("the network is not positively homogeneous")
    return Shares(unstabilised=full, shrunk=shrunk, bare=bare, bare_output=bare_output)


def unbiased_sums(bench: Bench, explainer: NamedExplainer) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums of relevance and outputs of the network with all biases set to zero.

    Args:
        bench: the bench with the images. It costs one map, two forward passes and one backward
            pass per image.
        explainer: the explainer of the maps.

    Returns:
        The sums, the explained outputs, and where a layer's value is exactly zero, so that no
        relevance needs to arrive at the input, (n,) each.

    Raises:
        NotApplicable: the model cannot be copied.
        XaiError: the explainer raised, or cannot explain the changed network.
    """
    model = bench.copied_model()
    scale_constants(model, 0.0)
    zero = bench.batched(
        lambda batch, targets: zero_sums(model, batch, targets), bench.inputs, bench.targets
    )
    with seeded(0):
        return *_explained(bench, explainer, constants=0.0, unit=1.0), zero


def scales_with_units(total: Tensor, found: Shares) -> bool:
    """Return whether sums of relevance scale with the activations, unlike maps of a fixed size.

    Args:
        total: sums for the original network, (n,).
        found: sums for scaled activations. With small activations a stabiliser may take everything.
    """
    own, large, small = (
        float(sums.abs().sum()) for sums in (total, found.unstabilised, found.shrunk)
    )
    return large > _NOTHING * own and small < max(own, large) / _NOTHING


def _explained(
    bench: Bench, explainer: NamedExplainer, *, constants: float, unit: float
) -> tuple[Tensor, Tensor]:
    """Return sums and outputs for scaled activations, converted back to the original units."""
    model = bench.copied_model()
    scale_constants(model, constants)
    inputs, baseline = bench.inputs * unit, bench.baseline * unit
    maps = bench.explain(explainer, inputs, baseline=baseline, on=Guard(model))
    with torch.no_grad():
        outputs = bench.batched(model, inputs).gather(1, bench.targets[:, None]).squeeze(1)
    return maps.double().flatten(1).sum(1) / unit, outputs.double() / unit


def by_layer(
    bench: Bench, explainer: NamedExplainer, *, measure: Measure, images: Sequence[int]
) -> str:
    """Return a sentence on the relevance that each layer takes for one image.

    The relevance at a position is the sum of the map of the rest of the network after it. For rules
    that work layer by layer, this is the relevance that arrives there. Rules for the first layer
    apply to the first layer of each rest.

    Args:
        bench: the bench on which the check failed.
        explainer: the explainer that failed.
        measure: the check, whose facts contain "sum", "f(x)" and "absorbed by biases".
        images: positions of the images that exceed their limits. The first one is used.

    Raises:
        NotApplicable: the network cannot be copied or traced, or no part of it can be explained.
        XaiError: the explainer raised for a part of the network.
    """
    with bench.guard.watch(), seeded(0):
        parts = Parts(bench, explainer, measure=measure, images=images[:1])
        cuts = _thinned([cut for cut in parts.tails.cuts[:-1] if cut.plain])
        arrived, absorbed, output = [], [], 0.0
        for cut in cuts:
            facts = parts.finding(cut).facts
            arrived.append(float(facts["sum"][0]))
            absorbed.append(float(facts["absorbed by biases"][0]))
            output = float(facts["f(x)"][0])
    taken = [
        (after - own, bias - bias_after)
        for own, after, bias, bias_after in zip(
            arrived, [*arrived[1:], output], absorbed, [*absorbed[1:], 0.0], strict=True
        )
    ]
    # The share of the biases under LRP-0 is expected, so that it does not count here.
    ranked = sorted(range(len(cuts)), key=lambda place: -abs(taken[place][0] - taken[place][1]))
    reported = [place for place in ranked[:_REPORTED] if abs(taken[place][0]) > 1e-9 * abs(output)]
    ends = [*cuts[1:], Cut(place=len(parts.tails.steps) - 1, live=(), plain=True)]
    steps = [
        f"{_span(parts, cuts[place], ends[place])} takes {taken[place][0]:.3g} "
        f"(biases under LRP-0: {taken[place][1]:.3g})"
        for place in sorted(reported, reverse=True)
    ]
    if not steps:
        return f"Of the relevance {output:.3g} at the output, every layer passes on all."
    return (
        f"Of the relevance {output:.3g} at the output, {arrived[0]:.3g} arrives at the input: "
        f"{'; '.join(steps)}."
    )


def _thinned(cuts: list[Cut]) -> list[Cut]:
    """Return a limited number of evenly spaced cuts, with the first one among them."""
    if len(cuts) <= _POSITIONS:
        return cuts
    return [cuts[number * len(cuts) // _POSITIONS] for number in range(_POSITIONS)]


def _span(parts: Parts, start: Cut, stop: Cut) -> str:
    nodes = parts.tails.between(start, stop)
    first = step_name(parts.tails, nodes[0])
    return first if len(nodes) == 1 else f"{first} to {step_name(parts.tails, nodes[-1])}"
