"""The map does not depend on the memory layout of the inputs and the weights."""

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.checks._twins import Twin, laid_out, require_repeatable, taken, tolerance
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@check(
    family="contract",
    question="Is the map the same for every memory layout of the inputs and the weights?",
    claim="The map stays the same when inputs and weights are channels-last, when the inputs are a "
    "slice of a larger tensor, and when they are an expanded image.",
    source="design",
    figure="largest change of the map, relative to its largest value",
    scope="universal",
    limit_source="The rounding error of a sum over the model: 8 eps sqrt(layers x fan-in). Where "
    "that is exceeded, ten times the change that rounding errors of the inputs cause in the map "
    "is added. A failure in float32 is repeated in float64.",
    cost=Cost(forward=4, explainer_calls=4),
    max_images=4,
    arbitrated=True,
)
def memory_format_consistent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest change of its map, relative to its largest value.

    The check leaves out a layout that the model does not accept or that changes its outputs.
    """
    require_repeatable(bench, explainer, "for another memory layout")
    maps = bench.maps(explainer)
    changes = {
        name: change
        for name, change in (
            ("channels-last", _channels_last(bench, explainer, maps)),
            ("sliced", _sliced(bench, explainer, maps)),
            ("expanded", _expanded(bench, explainer, maps)),
        )
        if change is not None
    }
    if not changes:
        raise NotApplicable("the model accepts inputs of one memory layout only")
    values = torch.stack(list(changes.values())).nan_to_num(-1).amax(0)
    values = values.masked_fill(values < 0, torch.nan)
    limits, jumps = tolerance(bench, explainer, maps, values)
    changing = [name for name, change in changes.items() if (change > limits).any()]
    return Finding(
        values=values,
        limits=limits,
        facts={**{f"change {n}": c for n, c in changes.items()}, "change by rounding": jumps},
        cause=f"The map changes when the inputs are {', '.join(changing)}: the explainer reads "
        "values in the order of memory (as_strided, data_ptr, a raw buffer), not by index."
        if changing
        else "",
    )


def _channels_last(bench: Bench, explainer: NamedExplainer, maps: Tensor) -> Tensor | None:
    """Return the change with channels-last weights and inputs, (n,), or None if left out."""
    layout = _CHANNELS_LAST.get(bench.inputs.ndim)
    if layout is None:
        return None

    def last(inputs: Tensor) -> Tensor:
        return inputs.contiguous(memory_format=layout)

    twin = Twin.of(bench, _with_weights_last)
    if not _agrees(bench, twin.outputs(last(bench.inputs))):
        return None
    return relative_difference(twin.explain(laid_out(explainer, last), bench.inputs), maps)


def _with_weights_last(model: nn.Module) -> nn.Module:
    for weight in model.parameters():
        if weight.ndim in _CHANNELS_LAST:
            layout = _CHANNELS_LAST[weight.ndim]
            weight.data = weight.data.contiguous(memory_format=layout)
    return model


def _sliced(bench: Bench, explainer: NamedExplainer, maps: Tensor) -> Tensor | None:
    """Return the change with inputs that are a slice, (n,), or None if left out."""
    if not _agrees(bench, taken(bench, bench.subject.model, _between(bench.inputs))):
        return None
    return relative_difference(bench.explain(laid_out(explainer, _between), bench.inputs), maps)


def _between(inputs: Tensor) -> Tensor:
    """Return the inputs as every second column of a larger tensor of zeros."""
    wide = inputs.new_zeros((*inputs.shape[:-1], 2 * inputs.shape[-1] + 1))
    wide[..., 1::2] = inputs
    return wide[..., 1::2]


def _expanded(bench: Bench, explainer: NamedExplainer, maps: Tensor) -> Tensor | None:
    """Return the change with an expanded input, (n,), or None if left out.

    A batch of the first image twice that shares one image in memory is compared with a copied one.
    """
    if len(bench) < 2:
        return None
    pair = bench.view(0, 2)
    twice = pair.inputs[[0, 0]]
    outputs = taken(bench, bench.subject.model, twice.clone()[:1].expand_as(twice))
    if outputs is None or not _near(outputs, bench.logits()[[0, 0]], bench.rounding):
        return None
    targets, baseline = pair.targets[[0, 0]], pair.baseline[[0, 0]]
    one, two = (
        pair.explain(each, twice, targets, baseline=baseline)
        for each in (laid_out(explainer, lambda inputs: inputs[:1].expand_as(inputs)), explainer)
    )
    change = torch.full((len(bench),), torch.nan, dtype=torch.float64, device=maps.device)
    change[0] = relative_difference(one, two).amax()
    return change


def _agrees(bench: Bench, outputs: Tensor | None) -> bool:
    """Return whether the model accepted the inputs and returned its usual outputs."""
    return outputs is not None and _near(outputs, bench.logits(), bench.rounding)


def _near(outputs: Tensor, expected: Tensor, rounding: float) -> bool:
    apart = (outputs - expected).abs().amax(1)
    # Terms may be larger than the outputs that they cancel to.
    return bool((apart <= 10 * rounding * expected.abs().amax(1)).all())
