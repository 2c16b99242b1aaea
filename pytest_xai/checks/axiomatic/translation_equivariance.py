"""If the output stays the same when the input moves, the map moves with the input."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.checks._twins import steady
from pytest_xai.core.finding import Finding
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.perturbations.constrained_networks import circular, half_averaged
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Shifts to try, in pixels: the total stride of a network is mostly a power of two.
_SHIFTS = (1, 2, 4, 8, 16, 32)
# Number of images, and of noise images, for which the network has to be invariant.
_WITNESSES = 4


@dataclass(frozen=True, slots=True)
class _Rolling:
    """A network whose outputs do not change when its inputs are rolled.

    Attributes:
        guard: the guard of the network, or None for the model itself.
        shift: number of positions to roll by.
        dims: dimensions to roll along.
        what: description of the network.
    """

    guard: Guard | None
    shift: int
    dims: tuple[int, ...]
    what: str

    def roll(self, tensor: Tensor) -> Tensor:
        return tensor.roll((self.shift,) * len(self.dims), self.dims)


@check(
    family="axiomatic",
    question="Does the map move with the input if the output stays the same?",
    claim="If f(roll x) = f(x), the map of the rolled input is the rolled map.",
    source="montavon2018",
    figure="largest difference between the two maps, relative to the largest value",
    scope="claimed",
    limit_source="The rounding error of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in). A failure in float32 is repeated in float64, where the limit is "
    "1 + |f|/|R| times as large, plus ten times the change of the map by rounding of the input.",
    cost=Cost(forward=5, backward=2, explainer_calls=2),
    max_images=ROUND,
    arbitrated=True,
)
def translation_equivariance(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest difference of the two maps over the largest value.

    The network is the model itself if its outputs stay the same for images and noise that are
    rolled along all sides. Otherwise it is a copy whose convolutions pad with the opposite side, or
    else the model applied to the mean of its input and the input rolled by half a side, which is
    invariant for every model. The check leaves out images for which the model's own gradient does
    not move with the input, for example because a maximum is reached at two positions.
    """
    network = _invariant(bench)
    inputs, baseline = bench.inputs, bench.baseline

    def explain(images: Tensor) -> Tensor:
        return bench.explain(explainer, images, on=network.guard)

    maps = explain(inputs)
    theirs = bench.explain(
        explainer, network.roll(inputs), baseline=network.roll(baseline), on=network.guard
    )
    expected = network.roll(maps)
    difference = relative_difference(theirs, expected)
    fixed = _gradient_stays(bench, network)
    return Finding(
        values=torch.where(fixed, torch.nan, difference),
        limits=steady(bench, explain, inputs, maps, difference),
        left_out={
            "the model's own gradient does not move with the input": int(fixed.sum()),
            "zero maps": int((difference.isnan() & ~fixed).sum()),
        },
        tensors={"input": inputs, "rolled map": expected, "map of the rolled input": theirs},
        notes=(f"Rolled by {network.shift}, on {network.what}.",),
        cause="The map does not move with the input: the explainer weights positions, cuts or "
        "pads a border, interpolates from a coarser grid, or uses windows that do not wrap "
        "around.",
    )


def _gradient_stays(bench: Bench, network: _Rolling) -> Tensor:
    """Return per image whether the network's gradient does not move with the input, (n,).

    A gradient of zeros counts as one that does not move, since equal outputs prove nothing there.
    """
    if not bench.differentiable:
        return torch.zeros(len(bench), dtype=torch.bool, device=bench.inputs.device)
    model = bench.subject.model if network.guard is None else network.guard.model

    def gradient(images: Tensor, targets: Tensor) -> Tensor:
        images = images.detach().requires_grad_()
        return torch.autograd.grad(model(images).gather(1, targets[:, None]).sum(), images)[0]

    with torch.enable_grad():
        slope = bench.batched(gradient, bench.inputs, bench.targets)
        moved = bench.batched(gradient, network.roll(bench.inputs), bench.targets)
    stays = relative_difference(moved, network.roll(slope)) > bench.rounding_of(slope)
    return stays | (slope.flatten(1) == 0).all(1)


def _invariant(bench: Bench) -> _Rolling:
    """Return a network whose outputs do not change when its inputs are rolled.

    Raises:
        NotApplicable: the inputs have no sides, or none of them has an even length.
    """
    sides = bench.inputs.shape[2:]
    if not sides:
        raise NotApplicable("the inputs have no spatial dimension along which they could be rolled")
    every = tuple(range(2, 2 + len(sides)))
    shift = _shift(bench, bench.subject.model, every)
    if shift:
        return _Rolling(None, shift, every, "the model itself")
    model, what = _copy(bench), "a copy with circular padding"
    if model is not None and (shift := _shift(bench, model, every)):
        return _Rolling(Guard(model), shift, every, what)
    for dim, side in reversed([*zip(every, sides, strict=True)]):
        if side % 2 == 0:
            network = Guard(half_averaged(bench.subject.model, dim=dim, side=side))
            what = "the model applied to the mean of its input and the rolled input"
            return _Rolling(network, side // 2, (dim,), what)
    raise NotApplicable(
        "the outputs change when the inputs are rolled, and no side of the inputs has an even "
        "length"
    )


def _copy(bench: Bench) -> nn.Module | None:
    """Return a copy of the model with circular padding, or None if that is not possible."""
    try:
        model = bench.copied_model()
    except NotApplicable:
        return None
    return model if circular(model) else None


def _shift(bench: Bench, model: nn.Module, dims: tuple[int, ...]) -> int:
    """Return the smallest shift along all sides that keeps the outputs, or 0 if none does."""
    own = bench.inputs[:_WITNESSES]
    low, high = bench.bounds
    noise = torch.rand(own.shape, generator=bench.generator("rolled"), dtype=torch.float64)
    # Noise as well, since for images with a dark border the padding makes no difference.
    inputs = torch.cat([own, (low + (high - low) * noise).to(own)])

    def outputs(rolled: Tensor) -> Tensor:
        with torch.no_grad():
            return bench.batched(model, rolled)

    try:
        before = outputs(inputs)
        scale = bench.rounding * float(before.abs().max())
        for shift in _SHIFTS:
            if shift >= min(inputs.shape[dim] for dim in dims):
                break
            after = outputs(inputs.roll((shift,) * len(dims), dims))
            if float((after - before).abs().max()) <= scale:
                return shift
    except GuestError:
        if model is bench.subject.model:
            raise
    return 0
