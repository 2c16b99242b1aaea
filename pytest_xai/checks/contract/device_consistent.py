"""The maps on the GPU and on the CPU are the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.checks._twins import Twin, require_repeatable, tolerance
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Is the map on the GPU the same as on the CPU?",
    claim="The maps on the CPU and on the GPU are equal when TF32 is switched off.",
    source="design",
    figure="largest change of the map, relative to its largest value",
    scope="universal",
    limit_source="The rounding error of a sum over the model: 8 eps sqrt(layers x fan-in). Where "
    "that is exceeded, ten times the change that rounding errors of the inputs cause in the map "
    "is added. A failure in float32 is repeated in float64.",
    cost=Cost(forward=2, explainer_calls=2),
    max_images=4,
    arbitrated=True,
    marks=("gpu",),
)
def device_consistent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest change of its map, relative to its largest value."""
    require_repeatable(bench, explainer, "on another device")
    here = bench.inputs.device
    other = _other_device(here)
    if other is None:
        raise NotApplicable("needs a GPU that torch can use")
    with _full_precision():
        # The shared maps may have been computed with TF32, so that they cannot be used here.
        maps = bench.explain(explainer, bench.inputs)
        twin = Twin.of(bench, lambda model: model.to(other), device=other)
        outputs = twin.outputs(bench.inputs)
        if outputs is None:
            raise NotApplicable(f"the model does not run on {other}")
        there = twin.explain(explainer, bench.inputs).to(here)
        values = relative_difference(there, maps)
        limits, jumps = tolerance(bench, explainer, maps, values)
    logits = bench.logits()
    apart = (outputs.to(here) - logits).abs().amax(1) / logits.abs().amax(1)
    return Finding(
        values=values,
        limits=limits,
        facts={"change": values, "change of the outputs": apart, "change by rounding": jumps},
        cause=f"The map on {other} differs from the map on {here}: the explainer computes with "
        "less precision there, draws or sorts in another order, or mixes devices.",
    )


def _other_device(here: torch.device) -> torch.device | None:
    """Return the CPU for a GPU and the GPU for the CPU, or None if there is no GPU."""
    if here.type != "cpu":
        return torch.device("cpu")
    return torch.device("cuda") if torch.cuda.is_available() else None


@contextmanager
def _full_precision() -> Iterator[None]:
    """Switch TF32 off, which rounds to 10 bits, and restore the settings on exit."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
