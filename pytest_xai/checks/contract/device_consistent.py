"""On the GPU and on the CPU the maps are the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.checks._twins import Twin, require_repeatable, tolerance
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Is the map on the GPU the one on the CPU?",
    claim="Another device leaves the map as it is, with TF32 switched off.",
    source="design",
    scope="universal",
    limit_source="Rounding of a sum over the model, 8 eps sqrt(layers x fan-in), and where that "
    "is not kept ten times what rounding of the inputs does to the map; a failure in float32 is "
    "decided in float64.",
    cost=Cost(forward=2, explainer_calls=2),
    max_images=4,
    arbitrated=True,
    marks=("gpu",),
)
def device_consistent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest change of its map, relative to its largest value."""
    require_repeatable(bench, explainer, "on another device")
    here = bench.inputs.device
    other = _other_device(here)
    if other is None:
        raise NotApplicable("needs a GPU that torch can use")
    with _full_precision():
        # Not the shared maps: those may have been made with TF32.
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
        cause=f"The map on {other} is another one than on {here}: the explainer computes with "
        "less precision there, draws or sorts in another order, or mixes devices.",
    )


def _other_device(here: torch.device) -> torch.device | None:
    """The CPU for a GPU, the GPU for the CPU; None: there is none."""
    if here.type != "cpu":
        return torch.device("cpu")
    return torch.device("cuda") if torch.cuda.is_available() else None


@contextmanager
def _full_precision() -> Iterator[None]:
    """Switch TF32 off, which rounds to 10 bits, and give the settings back."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
