"""Maps hold no NaN or infinite value, also for inputs at which methods divide by zero."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.attribution import normalise
from pytest_xai.core.finding import Finding
from pytest_xai.errors import InvalidAttribution
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Are all values of the maps finite?",
    claim="The maps of the image, of the baseline and of a constant image hold no NaN or "
    "infinite value.",
    source="design",
    figure="number of the three maps that hold NaN or infinite values",
    scope="universal",
    limit_source="The contract: no such value is allowed.",
    cost=Cost(explainer_calls=3),
    max_images=ROUND,
)
def finite(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image how many of its three maps hold a value that is not finite.

    Where the input equals the baseline, rules that divide by their difference give NaN, and a
    constant image has no contrast to normalise by. Stored maps exist for the images only.
    """
    inputs = bench.inputs
    mean = inputs.flatten(1).mean(1).reshape(-1, *[1] * (inputs.ndim - 1))
    kinds = {"image": inputs}
    if bench.can_explain(explainer):
        kinds |= {
            "baseline as the image": bench.baseline,
            "constant image": mean.expand_as(inputs),
        }
    bad = {kind: _not_finite(bench, explainer, batch) for kind, batch in kinds.items()}
    found = [kind for kind, values in bad.items() if values.any()]
    return Finding(
        values=torch.stack(list(bad.values())).sum(0),
        cause="The explainer returned NaN or infinite values in the map of the "
        f"{', the '.join(found)}."
        if found
        else "",
        facts={f"not finite: {kind}": values for kind, values in bad.items()},
    )


def _not_finite(bench: Bench, explainer: NamedExplainer, inputs: Tensor) -> Tensor:
    """Return per image 1 if its map holds a value that is not finite, and 0 otherwise, (n,)."""
    start, parts = 0, []
    for chunk in bench.chunks():
        batch = inputs[start : start + len(chunk)]
        start += len(chunk)
        output = chunk.output(explainer, batch)
        try:
            normalise(output, batch)
        except InvalidAttribution as error:
            if error.problem != "finite":
                raise
            parts.append((~torch.isfinite(torch.as_tensor(output))).flatten(1).any(1).cpu())
        else:
            parts.append(torch.zeros(len(chunk), dtype=torch.bool))
    return torch.cat(parts).double()
