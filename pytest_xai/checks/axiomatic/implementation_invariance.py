"""Two networks that compute the same function have the same maps."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import call_with_model
from pytest_xai.core.finding import Finding
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.perturbations.transformed_networks import equal_function
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="axiomatic",
    question="Does the map depend only on the function, and not on how the network implements it?",
    claim="The map stays the same when a batch norm is folded, a layer is split, or a ReLU is "
    "written as a product.",
    source="sundararajan2017",
    figure="largest difference between the two maps, relative to the largest value",
    scope="claimed",
    limit_source="The rounding error of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in). A failure in float32 is repeated in float64, where the limit is "
    "1 + |f|/|R| times as large.",
    cost=Cost(forward=2, explainer_calls=2),
    max_images=ROUND,
    arbitrated=True,
)
def implementation_invariance(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest difference of the two maps over their largest value."""
    model = bench.copied_model()
    twin, rewritten = call_with_model(lambda: equal_function(model, bench.inputs[:1]))
    if not rewritten:
        raise NotApplicable(
            "the model has no ReLU module, linear layer or batch norm after a convolution that "
            "could be rewritten"
        )
    try:
        with torch.no_grad():
            outputs = bench.batched(twin, bench.inputs)
    except GuestError as error:
        if not isinstance(error.__cause__, AttributeError):
            raise
        # The model reads an attribute of a module that was rewritten.
        raise NotApplicable(f"the rewritten network raises an error: {error}") from error
    expected = bench.logits()
    scale = float(expected.abs().max())
    if float((outputs - expected).abs().max()) > 100 * bench.rounding * scale:
        raise NotApplicable("the rewritten network does not compute the same function")
    maps = bench.explain(explainer, bench.inputs)
    theirs = bench.explain(explainer, bench.inputs, on=Guard(twin))
    difference = relative_difference(theirs, maps)
    return Finding(
        values=difference,
        limits=bench.rounding_of(maps, theirs),
        left_out={"zero maps": int(difference.isnan().sum())},
        notes=(f"Rewritten: {_summary(rewritten)}.",),
        tensors={"input": bench.inputs, "map": maps, "map of the equal network": theirs},
        cause="The map depends on the graph, not only on the function: the method is a rule on "
        "modules (guided backpropagation, deconvolution, LRP, DeepLIFT), or it finds modules by "
        "type.",
    )


def _summary(rewritten: list[str]) -> str:
    shown = "; ".join(rewritten[:3])
    return shown if len(rewritten) <= 3 else f"{shown}; and {len(rewritten) - 3} more"
