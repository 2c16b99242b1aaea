"""Relevance is conserved from the output to the input: sum R = f(x), or f(x) less the biases."""

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.bias_terms import bias_absorption, zero_sums
from pytest_xai.core.finding import Finding
from pytest_xai.diagnosis import (
    Shares,
    by_layer,
    exceeding,
    is_final,
    scales_with_units,
    shares,
    unbiased_sums,
    with_location,
)
from pytest_xai.errors import NotApplicable, XaiError
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_LOST = "Relevance is lost or added."
_NOT_THE_LOGIT = (
    "Relevance is lost or added: the maps do not grow with the output. The explainer may start "
    "from a value other than the logit (1, a probability), normalise the map, or add a constant."
)
# For methods that declare a stabiliser, its leak does not count as a loss: the stabiliser of the
# closed forms, and one of another size.
_STABILISED = frozenset({"lrp_epsilon", "lrp_epsilon_other"})


@check(
    family="axiomatic",
    question="Does all relevance of the output arrive at the input?",
    claim="The sum of the relevances is f(x), or f(x) less the relevance that biases absorb.",
    source="bach2015",
    figure="gap between the sum of the relevances and f(x), with or without biases",
    scope="claimed",
    limit_source="The rounding error of the sum: 8 eps sqrt(layers x fan-in) (sum|R| + |f(x)|).",
    cost=Cost(forward=2, backward=1, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def relevance_conservation(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image |sum R - f(x)|, or |sum R + biases - f(x)| where that is smaller.

    Rules that give biases their share lose exactly the sum of b_k df/dz_k for LRP-0 (Bach 2015).
    Rules that pass this share on to the inputs lose nothing. Both are correct, and a note states
    the share. Where the sum is neither, the check separates the shares of a stabiliser, of the
    biases and of real losses.

    The check leaves out images for which the value of a linear layer is exactly zero, so that its
    shares are 0/0. On networks other than ReLU networks it also leaves out images for which nothing
    is lost once the biases are zero. The methods "lrp_epsilon" and "lrp_epsilon_other" (a
    stabiliser of another size) declare a stabiliser, whose share is no loss.

    Raises:
        NotApplicable: the share of a declared stabiliser cannot be determined.
    """
    finding = _measure(bench, explainer)
    declared = explainer.traits.method in _STABILISED
    if exceeding(finding):
        finding = _without_zero_sums(finding, bench)
    if not exceeding(finding) or not (declared or is_final(bench, explainer)):
        return finding
    try:
        found = shares(bench, explainer)
    except XaiError as reason:
        if declared and isinstance(reason, NotApplicable):
            raise NotApplicable(
                f"the share of its stabiliser cannot be determined: {reason}"
            ) from reason
        note = f"The share of a stabiliser cannot be determined ({reason})."
        finding = _without_biases(replace(finding, notes=(*finding.notes, note)), bench, explainer)
        return with_location(finding, bench, explainer, measure=_measure, short=_LOST)
    return _with_shares(finding, found, bench, explainer)


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
        cause="Relevance is lost or added. Known causes: absolute values, neurons without positive "
        "contributions, a residual sum or a normalisation without a rule, or a start from a value "
        "other than the logit.",
    )


def _without_zero_sums(finding: Finding, bench: Bench) -> Finding:
    """Leave out images for which the share of the biases depends on the convention for 0/0."""
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
    """Leave out images for which all relevance is conserved once the biases are zero.

    The share that biases absorb is known for ReLU networks only. In other networks a rule that
    passes relevance through an activation may give them another share.
    """
    if _other_constants(bench.subject.model):
        why = "the share of constants other than weights and biases is not known"
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
    """Return whether the model has constants other than weights and biases, such as an offset."""
    named = itertools.chain(model.named_parameters(), model.named_buffers())
    known = ("weight", "bias", "running_mean", "running_var")
    return any(
        value.is_floating_point() and not name.rpartition(".")[2].endswith(known)
        for name, value in named
    )


def _with_shares(
    finding: Finding, found: Shares, bench: Bench, explainer: NamedExplainer
) -> Finding:
    """Return the failed finding with the shares of stabiliser, biases and losses as its cause.

    The leak of a declared stabiliser does not count.
    """
    facts = finding.facts
    output, absorbed = facts["f(x)"], facts["absorbed by biases"]
    if not scales_with_units(facts["sum"], found):
        return replace(finding, cause=_NOT_THE_LOGIT)
    missing = output - found.unstabilised
    taken = found.unstabilised - facts["sum"]
    rest = replace(finding, values=torch.minimum(missing.abs(), (missing - absorbed).abs()))
    limits = torch.as_tensor(finding.limits)
    bare = found.bare_output - found.bare
    lost = bool((bare.abs() > limits + bench.rounding * found.bare_output.abs()).any())
    note = (
        f"Of |f(x)|, a stabiliser takes {_share(taken, output)}, and biases and losses take "
        f"{_share(missing, output)}. With all biases set to zero, "
        f"{_share(bare, found.bare_output)} are lost."
    )
    finding = replace(
        finding,
        facts={**facts, "taken by a stabiliser": taken, "lost without biases": bare},
        notes=(*finding.notes, note),
    )
    if explainer.traits.method in _STABILISED:
        finding = replace(finding, values=rest.values)
    if not exceeding(finding):
        return finding
    if not exceeding(rest):
        cause = (
            "Relevance is lost to a stabiliser (epsilon) that is not small compared with the "
            f"activations: it takes {_share(taken, output)} of |f(x)|, and nothing else is missing."
        )
        return _with_layers(replace(finding, cause=cause), bench, explainer)
    if not lost:
        cause = (
            "Biases take a share that is neither zero nor the share under LRP-0. With all biases "
            "set to zero, nothing is lost."
        )
        return _with_layers(replace(finding, cause=cause), bench, explainer)
    located = with_location(finding, bench, explainer, measure=_measure, short=_LOST)
    return _with_layers(located, bench, explainer)


def _with_layers(finding: Finding, bench: Bench, explainer: NamedExplainer) -> Finding:
    """Add the relevance that each layer takes for the worst image, where it can be determined."""
    try:
        layers = by_layer(bench, explainer, measure=_measure, images=exceeding(finding))
    except Exception:  # noqa: BLE001  # user code; the verdict does not depend on it
        return finding
    return replace(finding, cause=f"{finding.cause} {layers}")


def _share(part: Tensor, whole: Tensor) -> str:
    return f"{float(part.abs().sum() / whole.abs().sum()):.1%}"
