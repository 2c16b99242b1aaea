"""What a model is made of: its layers in the order of execution, its size, its constants."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

__all__ = ["layers"]


def layers(model: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the modules that own parameters or buffers, in the order of execution.

    A module counts where a tensor of its own is first computed with, whoever does so: attention
    uses its projection's weights without calling it, and a class token is used after the patches.
    One whose tensors are out of sight (compiled code) counts where it first runs, and one that
    never does either comes first, as if nearest to the input. One forward pass.

    Args:
        model: the model, in evaluation mode.
        inputs: (N, *shape), one image is enough.
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
    """The parameters and floating buffers that a module itself owns."""
    yield from module.parameters(recurse=False)
    yield from (value for value in module.buffers(recurse=False) if value.is_floating_point())


class _Uses(TorchFunctionMode):
    """Notes at which tick of its clock a tensor of each module is first computed with."""

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
        # Asking a weight for its dtype or its size is no computation.
        if any(isinstance(value, Tensor) for value in tree_leaves(result)):
            for value in tree_leaves((args, kwargs)):
                name = self.owner.get(id(value))
                if name is not None and isinstance(value, Tensor):
                    self.first.setdefault(name, next(self.clock))
        return result
