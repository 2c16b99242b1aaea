"""The memory that the explainer keeps stays bounded, however often it is called."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from pytest_xai.bench.bench import Bench
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# The number of calls for every explainer, and for one that keeps more memory after each of them.
# A cache may fill up within the first half of the calls.
_CALLS, _MANY = 6, 64
# An object may live one call longer than the others, so that this many counts are compared.
_SPREAD = 4


@check(
    family="contract",
    question="Can the explainer be called any number of times without filling the memory?",
    claim="Repeated calls do not increase the tensors kept in memory, nor the hooks and "
    "attributes of the model. A cache may hold 32 calls.",
    source="design",
    figure="growth per call, in tensor values plus hooks and attributes of the model",
    scope="universal",
    limit_source="The contract: no growth is allowed.",
    cost=Cost(explainer_calls=1),
    max_images=_CALLS,
)
def memory_bounded(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return the growth per call, in values of tensors plus entries, the same for all images.

    The check counts the tensors that Python's garbage collector can see and that were made since
    the first call. On a GPU it also counts the memory of the allocator, which includes graphs that
    are kept in C++.
    """
    bench.require_new_maps(explainer)
    growth = _growth(bench, explainer)
    if growth.total > 0 and _growth(bench, _bare(explainer)).total > 0:
        raise NotApplicable("the model itself keeps more memory with every call")
    shape = (len(bench),)
    return Finding(
        values=torch.full(shape, growth.total),
        facts={
            "values of tensors per call": torch.full(shape, growth.numbers),
            "hooks and attributes per call": torch.full(shape, growth.entries),
        },
        cause=_cause(growth),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """The memory in use, or its growth per call.

    Attributes:
        numbers: values in tensors.
        entries: hooks and attributes of the model.
    """

    numbers: float
    entries: float

    @property
    def total(self) -> float:
        return self.numbers + self.entries


def _growth(bench: Bench, explainer: NamedExplainer) -> _Kept:
    """Return the growth per call, measured within one call of the bench.

    Within one call, since the bench removes left hooks after each of its calls.
    """
    counts: list[_Kept] = []

    def again(model: nn.Module, inputs: Tensor, targets: Tensor, **baseline: Tensor) -> Tensor:
        def once(number: int) -> None:
            row = slice(number % len(inputs), number % len(inputs) + 1)
            # All inputs differ, since a cache by content does not grow for equal ones.
            image = inputs[row] * (1 - number // len(inputs) / 1024)
            options = {name: tensor[row].clone() for name, tensor in baseline.items()}
            explainer.call(model, image, targets[row].clone(), **options)

        _calls(once, lambda: counts.append(_count(model, inputs.device)), counts)
        return torch.zeros_like(inputs)

    bench.call(replace(explainer, call=again), bench.inputs, bench.targets, baseline=bench.baseline)
    return _Kept(
        numbers=_slope([count.numbers for count in counts]),
        entries=_slope([count.entries for count in counts]),
    )


def _calls(once: Callable[[int], None], note: Callable[[], None], counts: list[_Kept]) -> None:
    """Call once to warm up, then a few times, and many times if the memory has grown by then."""
    once(0)
    # Hide existing objects from the collector: they are many, and none of them is new.
    gc.freeze()
    try:
        note()
        for number in range(1, _CALLS):
            once(number)
            note()
        early, late = counts[_CALLS // 2], counts[-1]
        if late.numbers > early.numbers or late.entries > early.entries:
            for number in range(_CALLS, _MANY):
                once(number)
                note()
    finally:
        gc.unfreeze()


def _slope(counts: list[float]) -> float:
    """Return the growth per call in the second half, and 0 unless the growth is certain."""
    half = len(counts) // 2
    if len(counts) <= _CALLS:
        return 0.0
    if min(counts[-_SPREAD:]) <= max(counts[half - _SPREAD : half]):
        return 0.0
    return (counts[-1] - counts[half - 1]) / (len(counts) - half)


def _count(model: nn.Module, device: torch.device) -> _Kept:
    gc.collect()
    # `type` instead of `isinstance`: some objects raise when their `__class__` is read.
    numbers = sum(thing.numel() for thing in gc.get_objects() if issubclass(type(thing), Tensor))
    if device.type == "cuda":
        numbers = max(numbers, torch.cuda.memory_allocated(device) // 4)
    owners = [vars(module) for module in model.modules()]
    tables = [value for owner in owners for value in owner.values()]
    tables += [value for name, value in vars(every_module).items() if name.startswith("_global")]
    tables += [weight._backward_hooks for weight in model.parameters()]  # noqa: SLF001  # hooks
    entries = sum(map(len, owners)) + sum(
        len(table) for table in tables if isinstance(table, (dict, list, set))
    )
    return _Kept(numbers=float(numbers), entries=float(entries))


def _bare(explainer: NamedExplainer) -> NamedExplainer:
    """Return an explainer that only runs the model, forward and if possible backward."""

    def call(model: nn.Module, inputs: Tensor, _: Tensor, **__: Tensor) -> Tensor:
        inputs = inputs.detach().requires_grad_()
        outputs: Tensor = model(inputs)
        if outputs.requires_grad:
            torch.autograd.grad(outputs.sum(), inputs, allow_unused=True)
        return inputs

    return replace(explainer, call=call)


def _cause(growth: _Kept) -> str:
    parts = []
    if growth.numbers:
        parts.append(
            f"tensors of {growth.numbers:.4g} values (graphs, inputs or maps in an unbounded list "
            "or cache: detach and drop them)"
        )
    if growth.entries:
        parts.append(
            f"{growth.entries:.2g} hooks or attributes of the model (remove them after the call)"
        )
    return f"Every call keeps {' and '.join(parts)}." if parts else ""
