"""However often the explainer is called, what it keeps of its calls stays bounded."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from pytest_xai.bench.bench import Bench
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Calls by which every explainer is judged; and one that keeps more after each of them: a cache
# may fill up to half as many entries.
_CALLS, _MANY = 6, 64
# An object may live a call longer than the rest: the least and the most of so many counts.
_SPREAD = 4


@check(
    family="contract",
    question="Can the explainer be called for ever without filling the memory?",
    claim="Call after call, the tensors that are kept, and the hooks and attributes of the model, "
    "become no more; a cache may hold 32 calls.",
    source="design",
    scope="universal",
    limit_source="The contract: nothing grows.",
    cost=Cost(explainer_calls=1),
    max_images=_CALLS,
)
def memory_bounded(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image, the same for all: what every call adds, in values of tensors and entries.

    Tensors are those that Python's garbage collector can see and that were made since the first
    call; on a GPU, also what its allocator has handed out, which graphs kept in C++ are part of.
    """
    bench.require_new_maps(explainer)
    growth = _growth(bench, explainer)
    if growth.total > 0 and _growth(bench, _bare(explainer)).total > 0:
        raise NotApplicable("the model itself keeps more with every call")
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
    """What is kept: values in tensors, entries in the model; or how much more with every call."""

    numbers: float
    entries: float

    @property
    def total(self) -> float:
        return self.numbers + self.entries


def _growth(bench: Bench, explainer: NamedExplainer) -> _Kept:
    """What every call adds, in one call of the bench: hooks must not be put back between."""
    counts: list[_Kept] = []

    def again(model: nn.Module, inputs: Tensor, targets: Tensor, **baseline: Tensor) -> Tensor:
        def once(number: int) -> None:
            row = slice(number % len(inputs), number % len(inputs) + 1)
            # No input comes twice: what is kept by content would not be kept again.
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
    """Call once to warm up, then a few times; many times if more is kept after the last."""
    once(0)
    # What there is already is out of the collector's sight: it is much, and none of it is new.
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
    """How much more there is per call in the second half, 0 unless it is certainly more."""
    half = len(counts) // 2
    if len(counts) <= _CALLS:
        return 0.0
    if min(counts[-_SPREAD:]) <= max(counts[half - _SPREAD : half]):
        return 0.0
    return (counts[-1] - counts[half - 1]) / (len(counts) - half)


def _count(model: nn.Module, device: torch.device) -> _Kept:
    gc.collect()
    # By type: some objects raise when they are asked for their class.
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
    """In the explainer's place a pass of the model, forward and where it can be backward."""

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
            f"tensors of {growth.numbers:.4g} values (graphs, inputs or maps in a list or a cache "
            "without a bound; detach them, and drop them)"
        )
    if growth.entries:
        parts.append(f"{growth.entries:.2g} hooks or attributes in the model (remove them)")
    return f"Every call keeps {' and '.join(parts)}." if parts else ""
