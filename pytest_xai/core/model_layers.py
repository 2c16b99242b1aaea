"""The layers of a model in the order of execution."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

__all__ = ["layers"]


def layers(model: nn.Module, inputs: Tensor) -> list[str]:
    """Return the names of the modules that own parameters or buffers, in the order of execution.

    The position of a module is the first computation that uses one of its tensors, even if another
    module does the computation: attention uses the weights of its projection without calling it.
    If no such computation is visible (compiled code), the position is the first call of the
    module. Modules that are never used come first. Costs one forward pass.

    Args:
        model: the model, in evaluation mode.
        inputs: (N, *shape); one image is enough.
    """
    owners = {
        module: name for name, module in model.named_modules() if any(True for _ in _own(module))
    }
    uses, runs = _Uses(owners), dict[str, int]()

    def note(module: nn.Module, _: object) -> None:
        runs.setdefault(owners[module], next(uses.clock))

    handles = [module.register_forward_pre_hook(note) for module in owners]
    try:
        with torch.no_grad(), uses:
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return sorted(owners.values(), key=lambda name: uses.first.get(name, runs.get(name, -1)))


def _own(module: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters and floating buffers of the module, without those of its children."""
    yield from module.parameters(recurse=False)
    yield from (value for value in module.buffers(recurse=False) if value.is_floating_point())


class _Uses(TorchFunctionMode):
    """Records for each module when one of its tensors is first used in a computation."""

    def __init__(self, owners: Mapping[nn.Module, str]) -> None:
        super().__init__()
        self.clock = itertools.count()
        self.first: dict[str, int] = {}
        self.owner = {id(value): name for module, name in owners.items() for value in _own(module)}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # Reading the dtype or the size of a weight is not a computation.
        if any(isinstance(value, Tensor) for value in tree_leaves(result)):
            for value in tree_leaves((args, kwargs)):
                name = self.owner.get(id(value))
                if name is not None and isinstance(value, Tensor):
                    self.first.setdefault(name, next(self.clock))
        return result
