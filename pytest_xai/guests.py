"""Guests' code called with care: errors named as theirs, batches halved when memory ends."""

import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from pytest_xai.errors import GuestError, XaiError

__all__ = ["called", "in_batches"]

T = TypeVar("T")

# What allocators say that raise a bare RuntimeError: the CPU's on Linux and Windows, cuBLAS, cuDNN.
_ALLOCATORS = ("can't allocate memory", "not enough memory", "_STATUS_ALLOC_FAILED")


def called(who: str, call: Callable[[], T]) -> T:
    """Call guests' code; say whose error it was.

    Args:
        who: names the guest in the message.
        call: what to call.

    Raises:
        GuestError: it raised; the traceback is kept. Our own errors and those of memory that ran
            out pass as they are.
    """
    try:
        return call()
    except Exception as error:
        if isinstance(error, XaiError) or _is_out_of_memory(error):
            raise
        raise GuestError(
            f"{who} raised {type(error).__name__}: {error}", traceback=traceback.format_exc()
        ) from error


def in_batches(function: Callable[..., Tensor], tensors: Sequence[Tensor], size: int) -> Tensor:
    """Apply a function of (n, ...) tensors batch by batch; halve a batch when memory runs out.

    Args:
        function: maps one batch of each of the tensors to (n, ...).
        tensors: (N, ...) each.
        size: images per batch.

    Raises:
        GuestError: the function raised, or memory does not even hold one image.
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
        results.append(called("the model", lambda: function(*batch)))
    except (RuntimeError, MemoryError) as error:  # out of memory: all else was wrapped
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
