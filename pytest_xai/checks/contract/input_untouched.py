"""The explainer does not change the tensors that it receives."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Are inputs, targets and baseline unchanged after the call?",
    claim="The explainer leaves values, requires_grad and .grad of its arguments unchanged.",
    source="design",
    figure="number of changes to the arguments of the explainer",
    scope="universal",
    limit_source="The contract: no change is allowed.",
    cost=Cost(explainer_calls=1),
    max_images=ROUND,
)
def input_untouched(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the number of changes that the call made to its arguments."""
    values, touched = [], []
    for chunk in bench.chunks():
        call = chunk.call(explainer, chunk.inputs, chunk.targets, baseline=chunk.baseline)
        values.append(torch.full((len(chunk),), float(len(call.touched))))
        touched += call.touched
    changed = ", ".join(dict.fromkeys(touched))
    return Finding(
        values=torch.cat(values),
        cause=f"The explainer changed {changed}: clone or detach its arguments first."
        if changed
        else "",
    )
