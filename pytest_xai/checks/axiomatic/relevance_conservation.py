"""Relevance is neither made nor lost on the way to the input: sum R = f(x), less the biases."""

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.bias_terms import bias_absorption, zero_sums
from pytest_xai.core.verdict import Finding
from pytest_xai.diagnosis import (
    Shares,
    beyond,
    by_layer,
    follows,
    is_last,
    shares,
    unbiased_sums,
    with_place,
)
from pytest_xai.errors import NotApplicable, XaiError
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_LOST = "Relevance is lost or made."
_NOT_THE_LOGIT = (
    "Relevance is lost or made: the maps do not grow with the output, which is a start from "
    "something else than the logit (1, a probability), a map that was normalised, or a constant."
)
# A method that declares its stabiliser is judged less the leak of it: that of the closed forms, and
# those of another size.
_STABILISED = frozenset({"lrp_epsilon", "lrp_epsilon_other"})


@check(
    family="axiomatic",
    question="Does the relevance that enters at the output arrive at the input?",
    claim="The sum of the relevances is f(x), or f(x) less what the biases absorb.",
    source="bach2015",
    scope="claimed",
    limit_source="Rounding of the summed terms: 8 eps sqrt(layers x fan-in) (sum|R| + |f(x)|).",
    cost=Cost(forward=2, backward=1, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def relevance_conservation(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: |sum R - f(x)|, or |sum R + biases - f(x)| where that is less.

    Rules that give biases their share lose exactly the sum of b_k df/dz_k for LRP-0 (Bach 2015);
    those that hand it on to the inputs lose nothing. Both are right, and the share is stated. What
    a stabiliser takes, biases take, and is lost are told apart where the sum is neither. Images are
    left out at which a linear layer's value is exactly zero, so that its shares are 0/0; and on
    networks that are no ReLU networks, if without biases nothing is missing. A method
    "lrp_epsilon", or "lrp_epsilon_other" of another size, has declared its stabiliser: what that
    takes is no loss, and where it cannot be told, no verdict is.
    """
    finding = _measure(bench, explainer)
    declared = explainer.traits.method in _STABILISED
    if beyond(finding):
        finding = _told(finding, bench)
    if not beyond(finding) or not (declared or is_last(bench, explainer)):
        return finding
    try:
        found = shares(bench, explainer)
    except XaiError as reason:
        if declared and isinstance(reason, NotApplicable):
            raise NotApplicable(f"what its stabiliser takes cannot be told: {reason}") from reason
        note = f"What a stabiliser takes cannot be told ({reason})."
        finding = _without_biases(replace(finding, notes=(*finding.notes, note)), bench, explainer)
        return with_place(finding, bench, explainer, measure=_measure, short=_LOST)
    return _told_apart(finding, found, bench, explainer)


def _measure(bench: Bench, explainer: NamedExplainer) -> Finding:
    maps = bench.explain(explainer, bench.inputs)
    total = maps.double().flatten(1).sum(1)
    output = bench.scores().double()
    with torch.enable_grad():
        absorbed = bench.batched(
            lambda batch, targets: bias_absorption(bench.subject.model, batch, targets),
            bench.inputs,
            bench.targets,
        ).double()
    whole, less_bias = (total - output).abs(), (total + absorbed - output).abs()
    added = maps.double().abs().flatten(1).sum(1)
    size = added + output.abs() + absorbed.abs()
    share = absorbed.abs().sum() / output.abs().sum()
    return Finding(
        values=torch.minimum(whole, less_bias),
        limits=bench.rounding * size + bench.storage_rounding(explainer, maps) * added,
        facts={
            "sum": total,
            "f(x)": output,
            "absorbed by biases": absorbed,
            "gap": whole,
            "gap less biases": less_bias,
        },
        tensors={"input": bench.inputs, "map": maps},
        notes=(f"Biases absorb {float(share):.1%} of |f(x)| under LRP-0.",),
        cause="Relevance is lost or made: absolute values, neurons without positive contributions, "
        "a residual sum or a normalisation without a rule, or a start from something else than the "
        "logit.",
    )


def _told(finding: Finding, bench: Bench) -> Finding:
    """Without the images at which what biases absorb is a matter of convention."""
    with torch.enable_grad():
        zero = bench.batched(
            lambda batch, targets: zero_sums(bench.subject.model, batch, targets),
            bench.inputs,
            bench.targets,
        )
    return replace(
        finding,
        values=finding.values.masked_fill(zero, torch.nan),
        left_out={**finding.left_out, "a layer's value is exactly zero": int(zero.sum())},
    )


def _without_biases(finding: Finding, bench: Bench, explainer: NamedExplainer) -> Finding:
    """Without the images of which all is conserved once biases are zero.

    What they absorb is known of ReLU networks. Elsewhere a rule that hands relevance through an
    activation gives them another share, and they are all that may take one.
    """
    if _other_constants(bench.subject.model):
        why = "the share of constants beside weights and biases is not known"
        return replace(
            finding,
            values=torch.full_like(finding.values, torch.nan),
            left_out={**finding.left_out, why: len(bench)},
        )
    try:
        sums, outputs, zero = unbiased_sums(bench, explainer)
    except XaiError:
        return finding
    size = torch.maximum(finding.tensors["map"].double().abs().flatten(1).sum(1), outputs.abs())
    kept = (sums - outputs).abs() <= torch.as_tensor(finding.limits) + bench.rounding * size
    kept = kept | zero
    return replace(
        finding,
        values=finding.values.masked_fill(kept, torch.nan),
        left_out={**finding.left_out, "the share of the biases is not known": int(kept.sum())},
    )


def _other_constants(model: nn.Module) -> bool:
    """Whether tensors of the model are neither weights nor biases, such as an offset of its own."""
    named = itertools.chain(model.named_parameters(), model.named_buffers())
    known = ("weight", "bias", "running_mean", "running_var")
    return any(
        value.is_floating_point() and not name.rpartition(".")[2].endswith(known)
        for name, value in named
    )


def _told_apart(
    finding: Finding, found: Shares, bench: Bench, explainer: NamedExplainer
) -> Finding:
    """The broken finding with what takes the relevance; judged less a stabiliser's leak."""
    facts = finding.facts
    output, absorbed = facts["f(x)"], facts["absorbed by biases"]
    if not follows(facts["sum"], found):
        return replace(finding, cause=_NOT_THE_LOGIT)
    missing = output - found.unstabilised
    taken = found.unstabilised - facts["sum"]
    rest = replace(finding, values=torch.minimum(missing.abs(), (missing - absorbed).abs()))
    limits = torch.as_tensor(finding.limits)
    bare = found.bare_output - found.bare
    lost = bool((bare.abs() > limits + bench.rounding * found.bare_output.abs()).any())
    note = (
        f"Shares of |f(x)|: a stabiliser takes {_share(taken, output)}, biases and losses "
        f"{_share(missing, output)}; with all biases zeroed {_share(bare, found.bare_output)} "
        "are lost."
    )
    finding = replace(
        finding,
        facts={**facts, "taken by a stabiliser": taken, "lost without biases": bare},
        notes=(*finding.notes, note),
    )
    if explainer.traits.method in _STABILISED:
        finding = replace(finding, values=rest.values)
    if not beyond(finding):
        return finding
    if not beyond(rest):
        cause = (
            "Relevance is lost to a stabiliser (epsilon) that is not small against the "
            f"activations: it takes {_share(taken, output)} of |f(x)|, and nothing else is missing."
        )
        return _layered(replace(finding, cause=cause), bench, explainer)
    if not lost:
        cause = (
            "Biases take a share that is neither none nor that of LRP-0; with all biases zeroed "
            "nothing is lost."
        )
        return _layered(replace(finding, cause=cause), bench, explainer)
    placed = with_place(finding, bench, explainer, measure=_measure, short=_LOST)
    return _layered(placed, bench, explainer)


def _layered(finding: Finding, bench: Bench, explainer: NamedExplainer) -> Finding:
    """With what the layers take of the relevance of the worst image, where that can be told."""
    try:
        layers = by_layer(bench, explainer, measure=_measure, images=beyond(finding))
    except Exception:  # noqa: BLE001  # a guest's; the verdict stands without it
        return finding
    return replace(finding, cause=f"{finding.cause} {layers}")


def _share(part: Tensor, whole: Tensor) -> str:
    return f"{float(part.abs().sum() / whole.abs().sum()):.1%}"
