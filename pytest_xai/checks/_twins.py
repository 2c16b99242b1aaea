"""The same explanation under other circumstances, and how far rounding may move it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import in_batches
from pytest_xai.core.seeds import seeded
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer

__all__ = ["Twin", "laid_out", "moved", "require_repeatable", "steady", "tolerance"]

# Inputs are moved by so many units of rounding, and the map may move by so many times what that
# does to it: rounding happens in every layer, and this reaches the first one only.
_ULPS = 4
_MARGIN = 10
_DRAWS, _DRAWS_EACH = 8, 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Twin:
    """A copy of the bench's model that is to give the same maps.

    Attributes:
        bench: whose images are explained.
        model: the copy, in another dtype, on another device or with another layout.
        guard: contains guests of the copy.
        dtype: of its inputs.
        device: where it is.
    """

    bench: Bench
    model: nn.Module
    guard: Guard
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(
        cls,
        bench: Bench,
        change: Callable[[nn.Module], nn.Module],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> "Twin":
        """Copy the model and change the copy.

        Args:
            bench: whose model.
            change: makes the twin of the copy.
            dtype: of the twin's inputs; None: the bench's.
            device: where the twin is; None: where the bench is.

        Raises:
            NotApplicable: the model cannot be copied.
        """
        model = change(bench.copied_model())
        return cls(
            bench=bench,
            model=model,
            guard=Guard(model),
            dtype=bench.inputs.dtype if dtype is None else dtype,
            device=bench.inputs.device if device is None else device,
        )

    def outputs(self, inputs: Tensor) -> Tensor | None:
        """Outputs of the twin, (n, classes); None: it does not take these inputs.

        Raises:
            GuestError: it raised, and did not when asked again: that is not the inputs' doing.
        """
        return taken(self.bench, self.model, inputs.to(self.device, self.dtype))

    def explain(self, explainer: NamedExplainer, inputs: Tensor) -> Tensor:
        """Maps of the twin for the bench's targets, as `Bench.explain`."""
        return self.bench.explain(
            explainer,
            inputs.to(self.device, self.dtype),
            self.bench.targets.to(self.device),
            baseline=self.bench.baseline.to(self.device, self.dtype),
            on=self.guard,
        )


def taken(bench: Bench, model: nn.Module, inputs: Tensor) -> Tensor | None:
    """Outputs of a model for inputs of a kind that it may not take; None: it does not.

    Raises:
        GuestError: it raised, and did not when asked again: that is not the inputs' doing.
    """

    def run() -> Tensor:
        with torch.no_grad(), seeded(bench.derive_seed("model", 0)):
            return in_batches(model, [inputs], bench.batch_size)

    try:
        return run()
    except GuestError:
        try:
            run()
        except GuestError:
            return None
        raise


def laid_out(explainer: NamedExplainer, layout: Callable[[Tensor], Tensor]) -> NamedExplainer:
    """The explainer, given its inputs in another layout in memory."""

    def call(model: nn.Module, inputs: Tensor, targets: Tensor, **baseline: Tensor) -> object:
        return explainer.call(model, layout(inputs), targets, **baseline)

    return replace(explainer, call=call)


def require_repeatable(bench: Bench, explainer: NamedExplainer, where: str) -> None:
    """Ask for an explainer that makes the same map elsewhere.

    Raises:
        NotApplicable: its maps are stored, or follow from numbers that it draws.
    """
    bench.require_new_maps(explainer)
    if explainer.traits.stochastic:
        raise NotApplicable(f"a stochastic explainer draws other numbers {where}")


def moved(
    bench: Bench,
    explain: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    dtype: torch.dtype,
    each: bool = False,
    beside: float = 0.0,
) -> Iterator[Tensor]:
    """Maps of the inputs moved by a few units of rounding, whose signs are drawn, one by one.

    Args:
        bench: draws the signs.
        explain: makes the maps of inputs.
        inputs: (n, *shape).
        dtype: whose rounding.
        each: that of each number, so that zeros stay; else that of the largest of an image.
        beside: a number that each is added to somewhere, and rounded with; zeros stay.
    """
    sizes = inputs.abs()
    if not each:
        sizes = sizes.flatten(1).amax(1).reshape(-1, *[1] * (inputs.ndim - 1))
    step = _ULPS * torch.finfo(dtype).eps * (sizes + beside * (sizes > 0))
    # Zeros that stay leave few numbers to move: each draw is worth less.
    for draw in range(_DRAWS_EACH if each else _DRAWS):
        generator = bench.generator("rounding", draw)
        signs = torch.randint(2, inputs.shape, generator=generator).to(inputs) * 2 - 1
        yield explain(inputs + step * signs)


def tolerance(
    bench: Bench, explainer: NamedExplainer, maps: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """How far the maps may be from those made elsewhere, and how far rounding moves them, (n,).

    Maps jump where the input of a unit is nearly zero, or two inputs of a maximum are nearly
    equal. Whether one is such a map is looked at only where that decides.

    Args:
        bench: where the maps were made.
        explainer: who made them.
        maps: (n, ...).
        values: their relative differences from those made elsewhere, (n,).
    """
    made = moved(
        bench, lambda x: bench.explain(explainer, x), bench.inputs, dtype=bench.inputs.dtype
    )
    return _widened(bench.rounding_of(maps), made, maps, values)


def steady(
    bench: Bench,
    explain: Callable[[Tensor], Tensor],
    inputs: Tensor,
    maps: Tensor,
    values: Tensor,
    *,
    beside: float = 0.0,
) -> Tensor:
    """Limits of two maps that are to be the same up to rounding, (n,).

    In float64, where a verdict is final, also ten times what rounding each input does to the map:
    where the input of a unit is exactly zero, no derivative is the right one.

    Args:
        bench: of these images.
        explain: makes maps of inputs on the network that they were made on.
        inputs: (n, *shape), what was explained.
        maps: of the inputs, (n, ...).
        values: the relative differences that are to be judged, (n,).
        beside: a number that the inputs of one of the maps are added to.
    """
    limits = bench.rounding_of(maps)
    if inputs.dtype != torch.float64:
        return limits
    if not (values > limits).any():
        return limits
    # An explainer whose map is another one when asked again owes that to nobody's rounding.
    repeats = ~(relative_difference(explain(inputs), maps).to(limits) > limits)
    made = moved(bench, explain, inputs, dtype=inputs.dtype, each=True, beside=beside)
    wide, _ = _widened(limits, made, maps, values)
    return torch.where((values <= wide) & repeats, wide, limits)


def _widened(
    limits: Tensor, made: Iterator[Tensor], maps: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """The limits with what moving the inputs does to the maps, and that alone, (n,) each."""
    if not (values > limits).any():
        return limits, torch.full_like(limits, math.nan)
    jumps = torch.zeros_like(limits)
    for other in made:
        jumps = torch.maximum(jumps, relative_difference(other, maps).nan_to_num().to(limits))
        if not (values > limits + _MARGIN * jumps).any():
            break
    return limits + _MARGIN * jumps, jumps
