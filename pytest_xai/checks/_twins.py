"""Explanations on a copy of the model, and limits on their change by rounding."""

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

# Inputs are perturbed by this many units of rounding, and the map may change by this many times the
# effect of it: rounding happens in every layer, and the perturbation shows the first one only.
_ULPS = 4
_MARGIN = 10
_DRAWS, _DRAWS_EACH = 8, 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Twin:
    """A copy of the bench's model that should give the same maps.

    Attributes:
        bench: the bench with the images to explain.
        model: the copy, in another dtype, on another device or with another memory layout.
        guard: restores the copy after calls of user code.
        dtype: dtype of the inputs of the copy.
        device: device of the copy.
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
            bench: the bench with the model.
            change: turns the copy into the twin.
            dtype: dtype of the twin's inputs, or None for that of the bench.
            device: device of the twin, or None for that of the bench.

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
        """Return the outputs of the twin, (n, classes), or None if it rejects these inputs.

        Raises:
            GuestError: the twin raised once and not again, so that the inputs are not the reason.
        """
        return taken(self.bench, self.model, inputs.to(self.device, self.dtype))

    def explain(self, explainer: NamedExplainer, inputs: Tensor) -> Tensor:
        """Return maps of the twin for the bench's targets, as `Bench.explain` does."""
        return self.bench.explain(
            explainer,
            inputs.to(self.device, self.dtype),
            self.bench.targets.to(self.device),
            baseline=self.bench.baseline.to(self.device, self.dtype),
            on=self.guard,
        )


def taken(bench: Bench, model: nn.Module, inputs: Tensor) -> Tensor | None:
    """Return outputs of a model for inputs that it may reject, or None if it rejects them.

    Raises:
        GuestError: the model raised once and not again, so that the inputs are not the reason.
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
    """Return the explainer with its inputs in another memory layout."""

    def call(model: nn.Module, inputs: Tensor, targets: Tensor, **baseline: Tensor) -> object:
        return explainer.call(model, layout(inputs), targets, **baseline)

    return replace(explainer, call=call)


def require_repeatable(bench: Bench, explainer: NamedExplainer, where: str) -> None:
    """Require an explainer that can repeat its maps on a copy of the model.

    Raises:
        NotApplicable: the maps are stored, or the explainer draws random numbers.
    """
    bench.require_new_maps(explainer)
    if explainer.traits.stochastic:
        raise NotApplicable(f"a stochastic explainer draws different random numbers {where}")


def moved(
    bench: Bench,
    explain: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    dtype: torch.dtype,
    each: bool = False,
    beside: float = 0.0,
) -> Iterator[Tensor]:
    """Yield maps of inputs that are perturbed by a few units of rounding, with random signs.

    Args:
        bench: the bench that draws the signs.
        explain: returns the maps of inputs.
        inputs: the inputs to perturb, (n, *shape).
        dtype: the dtype whose unit of rounding is used.
        each: perturb each number by its own rounding error, so that zeros stay, instead of the
            rounding error of the largest number of the image.
        beside: a number that the inputs are added to, so that they are rounded together with it.
            Zeros stay.

    Yields:
        The maps of one perturbation of all inputs, (n, ...).
    """
    sizes = inputs.abs()
    if not each:
        sizes = sizes.flatten(1).amax(1).reshape(-1, *[1] * (inputs.ndim - 1))
    step = _ULPS * torch.finfo(dtype).eps * (sizes + beside * (sizes > 0))
    # Inputs with many zeros leave few numbers to perturb, so that more draws are needed.
    for draw in range(_DRAWS_EACH if each else _DRAWS):
        generator = bench.generator("rounding", draw)
        signs = torch.randint(2, inputs.shape, generator=generator).to(inputs) * 2 - 1
        yield explain(inputs + step * signs)


def tolerance(
    bench: Bench, explainer: NamedExplainer, maps: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Return limits for the difference from maps of a twin, and the changes by rounding.

    Maps jump where the input of a unit is nearly zero, or where two inputs of a maximum are nearly
    equal. The effect of rounding is measured only if it can change the verdict.

    Args:
        bench: the bench on which the maps were made.
        explainer: the explainer that made the maps.
        maps: the maps, (n, ...).
        values: relative differences of the maps from those of the twin, (n,).

    Returns:
        Limits and relative changes by rounding of the inputs, (n,) each; NaN if not measured.
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
    """Return limits for the difference of two maps that should agree up to rounding, (n,).

    In float64, where a verdict is final, the limits include ten times the change of the map by
    rounding of each input: where the input of a unit is exactly zero, many derivatives are right.

    Args:
        bench: the bench with these images.
        explain: returns maps of inputs on the network that was explained.
        inputs: the explained inputs, (n, *shape).
        maps: the maps of the inputs, (n, ...).
        values: the relative differences to compare with the limits, (n,).
        beside: a number that the inputs of one of the two maps are added to.
    """
    limits = bench.rounding_of(maps)
    if inputs.dtype != torch.float64:
        return limits
    if not (values > limits).any():
        return limits
    # A map that changes when it is computed again does not change because of rounding.
    repeats = ~(relative_difference(explain(inputs), maps).to(limits) > limits)
    made = moved(bench, explain, inputs, dtype=inputs.dtype, each=True, beside=beside)
    wide, _ = _widened(limits, made, maps, values)
    return torch.where((values <= wide) & repeats, wide, limits)


def _widened(
    limits: Tensor, made: Iterator[Tensor], maps: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Return limits with the change of the maps by rounding, and that change alone, (n,) each."""
    if not (values > limits).any():
        return limits, torch.full_like(limits, math.nan)
    jumps = torch.zeros_like(limits)
    for other in made:
        jumps = torch.maximum(jumps, relative_difference(other, maps).nan_to_num().to(limits))
        if not (values > limits + _MARGIN * jumps).any():
            break
    return limits + _MARGIN * jumps, jumps
