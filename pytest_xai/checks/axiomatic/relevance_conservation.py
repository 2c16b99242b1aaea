"""Relevance is neither made nor lost on the way to the input: sum R = f(x), less the biases."""

import torch

from pytest_xai.anatomy import bias_absorption
from pytest_xai.bench import ROUND, Bench
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check
from pytest_xai.verdict import Finding


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
    those that hand it on to the inputs lose nothing. Both are right, and the share is stated.
    """
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
    gap = torch.minimum(whole, less_bias)
    added = maps.double().abs().flatten(1).sum(1)
    size = added + output.abs() + absorbed.abs()
    share = absorbed.abs().sum() / output.abs().sum()
    return Finding(
        values=gap,
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
        cause="Relevance is lost or made: a stabiliser (epsilon) that is not small against the "
        "activations, neurons without positive contributions, a residual sum or a "
        "normalisation without a rule, or a start from something else than the logit.",
    )
