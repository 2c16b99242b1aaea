"""Preparation of networks for captum's LRP: replacement of modules, or refusal with a reason."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_xai.errors import InvalidArgument, NotApplicable

__all__ = ["examine", "supported_copy"]

# Functions for which captum has a rule if they are called by these modules.
_AS_MODULES = {
    "relu": "nn.ReLU",
    "relu_": "nn.ReLU",
    "tanh": "nn.Tanh",
    "tanh_": "nn.Tanh",
    "linear": "nn.Linear",
    "conv2d": "nn.Conv2d",
    "batch_norm": "nn.BatchNorm2d",
    "max_pool2d": "nn.MaxPool2d",
    "max_pool2d_with_indices": "nn.MaxPool2d",
    "avg_pool2d": "nn.AvgPool2d",
    "adaptive_avg_pool2d": "nn.AdaptiveAvgPool2d",
}
# Functions that only move or inspect values, so that the gradient propagates relevance correctly.
_MOVES = frozenset(
    (
        *("__get__", "__getitem__", "__len__", "dim", "is_floating_point", "ndimension", "numel"),
        *("cat", "chunk", "clone", "contiguous", "detach", "double", "dropout", "expand"),
        *("expand_as", "flatten", "float", "movedim", "narrow", "pad", "permute", "register_hook"),
        *("reshape", "select", "size", "split", "squeeze", "stack", "swapaxes", "t", "to"),
        *("transpose", "type", "unbind", "unflatten", "unsqueeze", "view", "view_as"),
        *("new_zeros", "zeros", "zeros_like"),
    )
)


class _Moving(nn.Module):
    """Wraps a module that moves values. It has a child, as captum needs rules for leaves only."""

    def __init__(self, move: nn.Module) -> None:
        super().__init__()
        self.moved = nn.Dropout(0.0)
        self._call: Callable[..., Tensor] = move.forward

    def forward(self, inputs: Tensor) -> Tensor:
        moved: Tensor = self.moved(self._call(inputs))
        return moved


def supported_copy(model: nn.Module) -> nn.Module:
    """Return a copy of the model in which captum finds each layer and supports nn.Flatten.

    Args:
        model: the model, which is not changed. The names of layers in the copy begin with ``"0."``.
    """
    # captum would not find the layer of a model that is a single layer.
    copied = nn.Sequential(copy.deepcopy(model))
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if type(child) in (nn.Flatten, nn.Identity):
                setattr(module, name, _Moving(child))
        if isinstance(module, nn.ReLU | nn.Dropout):
            module.inplace = False
    return copied


def examine(model: nn.Module, inputs: Tensor, *, signs_matter: bool) -> None:
    """Run the model once, and refuse it if captum would silently give wrong maps.

    Args:
        model: the model that `supported_copy` returned.
        inputs: all inputs (N, *shape) that will be explained.
        signs_matter: True if the rule requires layers whose inputs are not negative.

    Raises:
        InvalidArgument: the model calls functions for which captum has a rule only as modules.
        NotApplicable: the model calls other functions that do more than move values, uses a layer
            twice, or, if ``signs_matter``, gives a layer negative inputs.
    """
    watch, used, negative = _Watch(), dict[str, int](), set[str]()
    handles = []
    for name, module in model.named_modules():
        if any(True for _ in module.children()):
            continue

        def enter(module: nn.Module, given: Any, name: str = name.removeprefix("0.")) -> None:
            watch.inside += 1
            # ReLU, Tanh and Dropout may be used again, since they pass relevance on unchanged.
            used[name] = used.get(name, 0) + (type(module) not in (nn.ReLU, nn.Tanh, nn.Dropout))
            if type(module) in (nn.Linear, nn.Conv2d) and bool((given[0] < 0).any()):
                negative.add(name)

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(lambda *_: watch.leave()))
    values = inputs.detach().clone()
    try:
        with torch.no_grad(), watch:
            model(values)
    finally:
        for handle in handles:
            handle.remove()
    _refuse_functions(watch.found)
    twice = sorted(name for name, count in used.items() if count > 1)
    if twice:
        raise NotApplicable(
            "captum's LRP does not support a module that is used twice: " + ", ".join(twice)
        )
    if signs_matter and negative:
        raise NotApplicable(
            "captum's rule selects weights by their sign, which is right only for inputs >= 0; "
            f"these layers have negative inputs: {', '.join(sorted(negative))}"
        )


def _refuse_functions(found: set[str]) -> None:
    modules = sorted({_AS_MODULES[name] for name in found if name in _AS_MODULES})
    if modules:
        raise InvalidArgument.of(
            "model",
            got=f"calls of {', '.join(sorted(found & set(_AS_MODULES)))} outside modules",
            expected=f"modules ({', '.join(modules)}), since LRP would silently use the gradient",
        )
    if found:
        raise NotApplicable(
            "captum's LRP supports modules only, and the model calls functions that do more than "
            f"move values: {', '.join(sorted(found))}. Write sums as captum's Addition_Module"
        )


class _Watch(TorchFunctionMode):
    """Records functions that are called outside leaf modules and do more than move values."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.inside = 0

    def leave(self) -> None:
        self.inside -= 1

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        name = getattr(func, "__name__", "")
        if not self.inside and name not in _MOVES:
            self.found.add(name)
        return func(*args, **(kwargs or {}))
