"""Random perturbations of a given size, as references for attacks and small steps.

Numbers are drawn on the CPU, image after image. The noise of an image depends on the state of the
generator and on the position of the image, but not on the device or on later images.
"""

import math

import torch
from torch import Tensor

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures.arguments import require_batch, require_same

__all__ = ["random_direction", "same_size_noise"]


def same_size_noise(
    delta: Tensor,
    inputs: Tensor,
    *,
    bounds: tuple[float, float] | None,
    generator: torch.Generator,
) -> Tensor:
    """Shuffle each image's perturbation over its elements, with random signs.

    The noise has the absolute values of ``delta`` and therefore the same L0, L1, L2 and Linf norms:
    the size of an attack without its direction.

    Args:
        delta: finite, floating (N, *shape), such as an adversarial input less its original.
        inputs: inputs to which the noise will be added, with the shape, dtype and device of
            ``delta``.
        bounds: (low, high), the range of ``inputs`` and of ``inputs`` plus the noise. A value that
            would leave the bounds gets the opposite sign. If both signs leave them, the noise
            ends at the bound that is further away, and its norms are smaller than those of
            ``delta``. None: no bounds.
        generator: the random generator, on the CPU.

    Returns:
        The noise itself, with the shape, dtype and device of ``delta``.

    Raises:
        InvalidArgument: an argument does not meet its description.
    """
    _require_inputs(inputs, bounds, generator)
    _require_finite(delta, "delta")
    require_same(delta, "delta", inputs, "inputs")
    if delta.dtype != inputs.dtype:
        raise InvalidArgument.of(
            "delta", got=f"dtype {delta.dtype}", expected=f"{inputs.dtype}, the dtype of inputs"
        )
    noise = torch.empty_like(delta, device="cpu", requires_grad=False)
    for row, values in zip(noise, delta.detach().cpu(), strict=True):
        order = torch.randperm(values.numel(), generator=generator)
        signs = 1 - 2 * torch.randint(2, order.shape, generator=generator)
        row.copy_((values.flatten()[order] * signs).reshape(values.shape))
    return _kept_within(noise.to(inputs.device), inputs.detach(), bounds)


def random_direction(
    inputs: Tensor,
    *,
    norm: float | Tensor,
    bounds: tuple[float, float] | None,
    generator: torch.Generator,
) -> Tensor:
    """Draw a step of given length in a uniformly distributed direction, for each image.

    Args:
        inputs: finite, floating (N, *shape), to which the step will be added.
        norm: L2 norm of the step, one number or one per image (N,); finite, 0 or more.
        bounds: (low, high), the range of ``inputs`` and of ``inputs`` plus the step. A value that
            would leave the bounds gets the opposite sign. If both signs leave them, the step ends
            at the bound that is further away, and its norm is smaller than ``norm``. None: no
            bounds.
        generator: the random generator, on the CPU.

    Returns:
        The step itself, with the shape, dtype and device of ``inputs``.

    Raises:
        InvalidArgument: an argument does not meet its description.
    """
    _require_inputs(inputs, bounds, generator)
    lengths = _lengths(norm, len(inputs))
    step = torch.empty_like(inputs, device="cpu", requires_grad=False)
    for row, length in zip(step, lengths, strict=True):
        drawn = torch.randn(row.shape, generator=generator, dtype=torch.float64)
        row.copy_(drawn * (length / drawn.norm()))
    return _kept_within(step.to(inputs.device), inputs.detach(), bounds)


def _require_finite(tensor: Tensor, argument: str) -> None:
    require_batch(tensor, argument)
    if not tensor.isfinite().all():
        raise InvalidArgument.of(argument, got="NaN or infinite values", expected="finite values")


def _require_inputs(
    inputs: Tensor, bounds: tuple[float, float] | None, generator: torch.Generator
) -> None:
    _require_finite(inputs, "inputs")
    if generator.device.type != "cpu":
        raise InvalidArgument.of(
            "generator",
            got=f"a generator on {generator.device}",
            expected="one on the CPU, whose numbers are the same for every device",
        )
    if bounds is None:
        return
    low, high = bounds
    if not low < high:
        raise InvalidArgument.of("bounds", got=repr(bounds), expected="(low, high), low < high")
    if ((inputs < low) | (inputs > high)).any():
        raise InvalidArgument.of(
            "inputs", got="values outside the bounds", expected=f"values in [{low}, {high}]"
        )


def _lengths(norm: float | Tensor, count: int) -> Tensor:
    lengths = torch.as_tensor(norm, dtype=torch.float64, device="cpu").detach()
    if lengths.ndim == 0:
        lengths = lengths.expand(count)
    if lengths.shape != (count,):
        raise InvalidArgument.of(
            "norm", got=f"shape {tuple(lengths.shape)}", expected=f"one number, or shape ({count},)"
        )
    if not ((lengths >= 0) & (lengths < math.inf)).all():
        raise InvalidArgument.of("norm", got=f"{norm}", expected="finite values of 0 or more")
    return lengths


def _kept_within(noise: Tensor, inputs: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    if bounds is None:
        return noise
    low, high = (torch.tensor(bound, dtype=inputs.dtype, device=inputs.device) for bound in bounds)

    def leaves(moved: Tensor) -> Tensor:
        return (moved < low) | (moved > high)

    noise = torch.where(leaves(inputs + noise), -noise, noise)
    up, down = high - inputs, low - inputs
    room = torch.where(up >= -down, up, down)
    # The rounded difference may exceed the bound; the next number towards zero does not.
    room = torch.where(leaves(inputs + room), room.nextafter(torch.zeros_like(room)), room)
    return torch.where(leaves(inputs + noise), room, noise)
