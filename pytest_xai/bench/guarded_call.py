"""Calls explainers and models so that an error says whose it is and memory may run out.

`call` runs an explainer once and reports what else it did. `call_user_code` is for any other code
of users, `call_with_model` and `in_batches` for our own functions that run a model.
"""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from pytest_xai.bench.guard import Guard, SideEffect
from pytest_xai.core.seeds import RandomState, seeded
from pytest_xai.errors import GuestError, XaiError
from pytest_xai.protocol import NamedExplainer

__all__ = ["Call", "call", "call_user_code", "call_with_model", "in_batches"]

T = TypeVar("T")

# Messages of allocators that raise a RuntimeError: of the CPU on Linux and Windows, cuBLAS, cuDNN.
_ALLOCATORS = ("can't allocate memory", "not enough memory", "_STATUS_ALLOC_FAILED")
_MODEL = "the model"
# Every call of a module runs this code.
_MODULE_CALL = nn.Module.__call__.__code__


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an explainer.

    Attributes:
        output: what it returned, unchanged.
        effects: what it changed in the model and the process; already restored.
        touched: what it changed in its arguments ("the values of inputs", ...).
        generators: global generators whose state it changed ("torch", "numpy", "python").
        after: their states when the call ended.
    """

    output: object
    effects: list[SideEffect]
    touched: list[str]
    generators: set[str]
    after: RandomState


def call(
    guard: Guard,
    explainer: NamedExplainer,
    inputs: Tensor,
    targets: Tensor,
    *,
    baseline: Tensor,
    seed: int,
) -> Call:
    """Call an explainer once on copies of the arguments, and restore the model.

    Args:
        guard: of the model that is explained.
        explainer: what to call.
        inputs: (n, *shape).
        targets: LongTensor (n,).
        baseline: (n, *shape); passed on to explainers that need one.
        seed: for the global generators, whose states are restored.

    Raises:
        GuestError: the explainer raised; its traceback is kept.
    """
    given = {"inputs": inputs, "targets": targets, "baseline": baseline}
    copies = {name: tensor.detach().clone() for name, tensor in given.items()}
    options = {"baseline": copies["baseline"]} if explainer.traits.needs_baseline else {}
    with guard.watch() as effects, seeded(seed):
        before = RandomState.now()
        output = call_user_code(
            f"explainer {explainer.name!r}",
            lambda: explainer.call(guard.model, copies["inputs"], copies["targets"], **options),
        )
        after = RandomState.now()
    return Call(
        output=output,
        effects=effects,
        touched=[
            change
            for name, tensor in given.items()
            for change in _touched(name, copies[name], tensor)
        ],
        generators=before.differing(after),
        after=after,
    )


def _touched(name: str, now: Tensor, before: Tensor) -> list[str]:
    """Name what the call changed in an argument."""
    changes = []
    same_kind = now.shape == before.shape and now.dtype == before.dtype
    if not same_kind or not torch.equal(now.detach(), before):
        changes.append(f"the values of {name}")
    if now.requires_grad:
        changes.append(f"requires_grad of {name}")
    if now.is_leaf and now.grad is not None:
        changes.append(f".grad of {name}")
    return changes


def call_user_code(who: str, function: Callable[[], T]) -> T:
    """Call code of users, and name them in its errors.

    Args:
        who: names the code in the message, such as "explainer 'mine'".
        function: calls nothing but that code.

    Raises:
        GuestError: the code raised; the traceback is kept. Errors of this package and errors of
            memory that ran out are raised unchanged.
    """
    try:
        return function()
    except Exception as error:
        if isinstance(error, XaiError) or _is_out_of_memory(error):
            raise
        raise _guest_error(who, error) from error


def call_with_model(function: Callable[[], T]) -> T:
    """Call a function of ours that runs a model, and name the model in the model's errors only.

    Raises:
        GuestError: the model raised within the function; the traceback is kept. All other errors
            are raised unchanged.
    """
    try:
        return function()
    except Exception as error:
        if not _is_of_a_model(error) or _is_out_of_memory(error):
            raise
        raise _guest_error(_MODEL, error) from error


def in_batches(function: Callable[..., Tensor], tensors: Sequence[Tensor], size: int) -> Tensor:
    """Apply a function of (n, ...) tensors batch by batch; halve a batch when memory runs out.

    Args:
        function: called with one batch of each tensor; returns (n, ...).
        tensors: (N, ...) each.
        size: images per batch.

    Raises:
        GuestError: a model raised within the function, or memory does not even hold one image.
            Errors that no model raised are raised unchanged.
    """
    results: list[Tensor] = []
    for batch in zip(*(tensor.split(size) for tensor in tensors), strict=True):
        _in_memory(function, batch, results)
    return torch.cat(results)


def _in_memory(
    function: Callable[..., Tensor], batch: Sequence[Tensor], results: list[Tensor]
) -> None:
    count = len(batch[0])
    try:
        results.append(function(*batch))
    except Exception as error:
        if not _is_out_of_memory(error):
            if not _is_of_a_model(error):
                raise
            raise _guest_error(_MODEL, error) from error
        if count == 1:
            raise GuestError(
                f"memory does not hold one image: {error}", traceback=traceback.format_exc()
            ) from error
        half = count // 2
        for part in (slice(0, half), slice(half, count)):
            _in_memory(function, [tensor[part] for tensor in batch], results)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATORS)
    )


def _guest_error(who: str, error: Exception) -> GuestError:
    return GuestError(
        f"{who} raised {type(error).__name__}: {error}", traceback=traceback.format_exc()
    )


def _is_of_a_model(error: BaseException) -> bool:
    """Return whether a model raised the error: it came out of the call of a module."""
    if isinstance(error, XaiError):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is _MODULE_CALL for frame, _ in frames)
