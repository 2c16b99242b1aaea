"""Where the output does not change when the input moves, the map moves along."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.checks._twins import steady
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.perturbations.constrained_networks import circular, half_averaged
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Rolls that are tried: strides multiply, mostly to powers of two.
_SHIFTS = (1, 2, 4, 8, 16, 32)
# Images, and as many of noise, on which the model itself has to be invariant.
_WITNESSES = 4


@dataclass(frozen=True, slots=True)
class _Rolling:
    """A network whose outputs do not change when its inputs are rolled."""

    guard: Guard | None
    shift: int
    dims: tuple[int, ...]
    what: str

    def roll(self, tensor: Tensor) -> Tensor:
        return tensor.roll((self.shift,) * len(self.dims), self.dims)


@check(
    family="axiomatic",
    question="Does the map move with the input where the model does not care where it is?",
    claim="Where f(roll x) = f(x), the map of the rolled input is the rolled map.",
    source="montavon2018",
    scope="claimed",
    limit_source="Rounding of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in); a failure in float32 is decided in float64, where the limit is "
    "1 + |f|/|R| times that, and ten times what rounding of the input does to the map.",
    cost=Cost(forward=5, backward=2, explainer_calls=2),
    max_images=ROUND,
    arbitrated=True,
)
def translation_equivariance(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest difference of the two maps over the largest value.

    The network is the model if its outputs stay on images and noise that are rolled along all
    sides; else a copy whose convolutions pad with the opposite side; else the model at the mean of
    its input and the input rolled by half a side, which is invariant whatever the model. Images
    are left out at which a maximum is reached in two places, so that the gradient, which follows
    the first, has no place of its own.
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
    tied = _tied(bench, network)
    return Finding(
        values=torch.where(tied, torch.nan, difference),
        limits=steady(bench, explain, inputs, maps, difference),
        left_out={
            "the model's own gradient does not move along": int(tied.sum()),
            "zero maps": int((difference.isnan() & ~tied).sum()),
        },
        tensors={"input": inputs, "rolled map": expected, "map of the rolled input": theirs},
        notes=(f"Rolled by {network.shift}, on {network.what}.",),
        cause="The map stays where the input moved: it weighs places by where they are, cuts or "
        "pads a border, interpolates from a coarser grid, or takes windows that do not wrap.",
    )


def _tied(bench: Bench, network: _Rolling) -> Tensor:
    """Per image whether the gradient of the network stays when the input moves, BoolTensor (n,).

    So does one of zeros: of a network that is dead at the input, equal outputs say nothing.
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
    """A network to roll the inputs of.

    Raises:
        NotApplicable: inputs have no sides, or none of them has an even length.
    """
    sides = bench.inputs.shape[2:]
    if not sides:
        raise NotApplicable("the inputs have no sides along which they could be moved")
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
            what = "the model at the mean of its input and the rolled input"
            return _Rolling(network, side // 2, (dim,), what)
    raise NotApplicable(
        "the outputs change when the inputs are rolled, and no side has an even length"
    )


def _copy(bench: Bench) -> nn.Module | None:
    """A copy of the model with circular padding; None: there is none to be had."""
    try:
        model = bench.copied_model()
    except NotApplicable:
        return None
    return model if circular(model) else None


def _shift(bench: Bench, model: nn.Module, dims: tuple[int, ...]) -> int:
    """The least roll of all sides that leaves the outputs; 0: none that is tried does."""
    own = bench.inputs[:_WITNESSES]
    low, high = bench.bounds
    noise = torch.rand(own.shape, generator=bench.generator("rolled"), dtype=torch.float64)
    # Images alone would not tell: of a dark border it does not matter how it is padded.
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
