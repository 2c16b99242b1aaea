"""Calling other people's code safely: the error says whose it is, and memory may run out.

`call` is one contained call of an explainer; it says what the explainer did beside its work.
`called` and `in_batches` are for models.
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

__all__ = ["Call", "call", "called", "in_batches"]

T = TypeVar("T")

# What allocators say that raise a bare RuntimeError: the CPU's on Linux and Windows, cuBLAS, cuDNN.
_ALLOCATORS = ("can't allocate memory", "not enough memory", "_STATUS_ALLOC_FAILED")
# Every call of a module runs this code.
_MODULE_CALL = nn.Module.__call__.__code__


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One contained call of an explainer.

    Attributes:
        output: what it returned, as it came.
        effects: what it changed in the model and the process; already put back.
        touched: what it changed in its arguments ("the values of inputs", ...).
        generators: global generators whose state it moved ("torch", "numpy", "python").
        after: their states when it ended.
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
    """Call an explainer once on copies of the arguments; the model is given back as it was.

    Args:
        guard: of the model that is explained.
        explainer: whom to call.
        inputs: (n, *shape).
        targets: LongTensor (n,).
        baseline: (n, *shape); passed on to explainers that need one.
        seed: for the global generators, whose states are given back.

    Raises:
        GuestError: it raised; its traceback is kept.
    """
    given = {"inputs": inputs, "targets": targets, "baseline": baseline}
    copies = {name: tensor.detach().clone() for name, tensor in given.items()}
    options = {"baseline": copies["baseline"]} if explainer.traits.needs_baseline else {}
    with guard.watch() as effects, seeded(seed):
        before = RandomState.now()
        output = called(
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
    """What differs in an argument after the call."""
    changes = []
    same_kind = now.shape == before.shape and now.dtype == before.dtype
    if not same_kind or not torch.equal(now.detach(), before):
        changes.append(f"the values of {name}")
    if now.requires_grad:
        changes.append(f"requires_grad of {name}")
    if now.is_leaf and now.grad is not None:
        changes.append(f".grad of {name}")
    return changes


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
        raise _guest_error(who, error) from error


def in_batches(function: Callable[..., Tensor], tensors: Sequence[Tensor], size: int) -> Tensor:
    """Apply a function of (n, ...) tensors batch by batch; halve a batch when memory runs out.

    Args:
        function: maps one batch of each of the tensors to (n, ...).
        tensors: (N, ...) each.
        size: images per batch.

    Raises:
        GuestError: a model raised within the function, or memory does not even hold one image.
            An error that no model raised is the function's own, and passes as it is.
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
            if isinstance(error, XaiError) or not _raised_in_a_model(error):
                raise
            raise _guest_error("the model", error) from error
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


def _raised_in_a_model(error: BaseException) -> bool:
    """Whether the error came out of a call of a module: only then is the model to blame."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is _MODULE_CALL for frame, _ in frames)
