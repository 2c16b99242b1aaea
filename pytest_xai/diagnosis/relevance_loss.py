"""Where relevance goes: into a stabiliser, into biases, or nowhere; and at which layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.bias_terms import scale_constants, zero_sums
from pytest_xai.core.seeds import seeded
from pytest_xai.diagnosis.location import Measure, Parts
from pytest_xai.diagnosis.suspects import named
from pytest_xai.diagnosis.tails import Cut
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer

__all__ = ["Shares", "by_layer", "follows", "shares", "unbiased_sums"]

# Units in which a stabiliser of any usual size is nothing; powers of two change no digit.
_UNITS = {torch.float64: 2.0**60, torch.float32: 2.0**40}
# What is left of maps in those units if they do not grow with the activations.
_NOTHING = 1e-6
# Places at which the relevance is summed, and steps that are told of.
_PLACES = 12
_TOLD = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """Sums of relevance in other circumstances, (n,) each.

    Attributes:
        unstabilised: in units in which a stabiliser is nothing, in the network's own units.
        shrunk: in units in which a stabiliser is everything, in the network's own units.
        bare: of the network without biases, in units in which a stabiliser is nothing.
        bare_output: the explained output of that network.
    """

    unstabilised: Tensor
    shrunk: Tensor
    bare: Tensor
    bare_output: Tensor


def shares(bench: Bench, explainer: NamedExplainer) -> Shares:
    """Sum the relevance again in larger units, with all biases and without.

    On a network that is positively homogeneous once its constants are inputs (linear layers, ReLU,
    pooling, batch normalisation), inputs and biases times t give t times every activation. The
    rules are homogeneous as well, but for the epsilon of a stabiliser, whose leak
    R (epsilon s)/(z + epsilon s) (Bach 2015, equation 58) vanishes. Without biases nothing is
    left that may take relevance: what is missing then is lost.

    Args:
        bench: on whose images; three maps each, and three forward passes.
        explainer: whose maps.

    Raises:
        NotApplicable: the network or the maps do not grow with the activations.
        XaiError: the explainer raised, or does not explain other networks.
    """
    unit = _UNITS.get(bench.inputs.dtype)
    if unit is None:
        raise NotApplicable(f"{bench.inputs.dtype} has no units to spare")
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
    """Sums of relevance and outputs of the network with all biases zeroed, (n,) each.

    The third says where a layer's value is exactly zero then, so that nothing need arrive.

    Args:
        bench: on whose images; a map each, two forward passes, and a backward pass.
        explainer: whose maps.

    Raises:
        NotApplicable: the model cannot be copied.
        XaiError: the explainer raised, or does not explain the other network.
    """
    model = bench.copied_model()
    scale_constants(model, 0.0)
    zero = bench.batched(
        lambda batch, targets: zero_sums(model, batch, targets), bench.inputs, bench.targets
    )
    with seeded(0):
        return *_explained(bench, explainer, constants=0.0, unit=1.0), zero


def follows(total: Tensor, found: Shares) -> bool:
    """Whether sums of relevance follow the activations; a map of a fixed size does not.

    Args:
        total: sums in the network's own units, (n,).
        found: those in others: a stabiliser takes at most everything in small units.
    """
    own, large, small = (
        float(sums.abs().sum()) for sums in (total, found.unstabilised, found.shrunk)
    )
    return large > _NOTHING * own and small < max(own, large) / _NOTHING


def _explained(
    bench: Bench, explainer: NamedExplainer, *, constants: float, unit: float
) -> tuple[Tensor, Tensor]:
    """Sums of relevance and outputs in larger units, brought back to the network's own."""
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
    """What the layers take of the relevance of one image, from the output to the input, in words.

    The relevance at a place is the map of the tail behind it, which for rules that go from layer to
    layer is what arrives there. Rules for a first layer meet the first layer of each tail.

    Args:
        bench: where the check failed.
        explainer: that failed.
        measure: its facts hold "sum", "f(x)" and "absorbed by biases".
        images: positions of the images beyond their limits; the first is looked at.

    Raises:
        NotApplicable: the network cannot be copied or followed, or no tail can be explained.
        XaiError: the explainer raised on a tail.
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
        (behind - own, bias - bias_behind)
        for own, behind, bias, bias_behind in zip(
            arrived, [*arrived[1:], output], absorbed, [*absorbed[1:], 0.0], strict=True
        )
    ]
    # What biases take where LRP-0 rules is no news.
    ranked = sorted(range(len(cuts)), key=lambda place: -abs(taken[place][0] - taken[place][1]))
    told = [place for place in ranked[:_TOLD] if abs(taken[place][0]) > 1e-9 * abs(output)]
    ends = [*cuts[1:], Cut(place=len(parts.tails.steps) - 1, live=(), plain=True)]
    steps = [
        f"{_span(parts, cuts[place], ends[place])} takes {taken[place][0]:.3g} "
        f"(biases under LRP-0: {taken[place][1]:.3g})"
        for place in sorted(told, reverse=True)
    ]
    if not steps:
        return f"Of the {output:.3g} at the output, every layer hands on all."
    return f"Of the {output:.3g} at the output {arrived[0]:.3g} arrive: {'; '.join(steps)}."


def _thinned(cuts: list[Cut]) -> list[Cut]:
    """Some of the places, evenly, the first among them."""
    if len(cuts) <= _PLACES:
        return cuts
    return [cuts[number * len(cuts) // _PLACES] for number in range(_PLACES)]


def _span(parts: Parts, start: Cut, stop: Cut) -> str:
    nodes = parts.tails.between(start, stop)
    first = named(parts.tails, nodes[0])
    return first if len(nodes) == 1 else f"{first} to {named(parts.tails, nodes[-1])}"
