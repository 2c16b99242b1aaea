"""The explainer leaves the tensors that it is given as they are."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Are inputs, targets and baseline untouched after the call?",
    claim="Values, requires_grad and .grad of the arguments are what they were.",
    source="design",
    scope="universal",
    limit_source="The contract: nothing is changed.",
    cost=Cost(explainer_calls=1),
    max_images=ROUND,
)
def input_untouched(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: how many of its arguments were changed."""
    values, touched = [], []
    for chunk in bench.chunks():
        call = chunk.call(explainer, chunk.inputs, chunk.targets, baseline=chunk.baseline)
        values.append(torch.full((len(chunk),), float(len(call.touched))))
        touched += call.touched
    changed = ", ".join(dict.fromkeys(touched))
    return Finding(
        values=torch.cat(values),
        cause=f"The explainer changed {changed}: clone or detach what it is given."
        if changed
        else "",
    )
