"""Networks that LRP of captum can follow: made so on a copy, or refused with the reason."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_xai.errors import InvalidArgument, NotApplicable

__all__ = ["examine", "followable"]

# Functions that captum has a rule for when they are modules.
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
# Functions that move values, so that the gradient moves relevance as it should, or only look.
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
    """A module that moves values, where captum looks into: it asks for a rule of leaves only."""

    def __init__(self, move: nn.Module) -> None:
        super().__init__()
        self.moved = nn.Dropout(0.0)
        self._call: Callable[..., Tensor] = move.forward

    def forward(self, inputs: Tensor) -> Tensor:
        moved: Tensor = self.moved(self._call(inputs))
        return moved


def followable(model: nn.Module) -> nn.Module:
    """A copy in which captum finds each layer, with modules that move values made known to it.

    Args:
        model: it stays as it is. Layers of the copy have its names behind ``"0."``.
    """
    # A model that is a single layer would be taken for one without layers.
    copied = nn.Sequential(copy.deepcopy(model))
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if type(child) in (nn.Flatten, nn.Identity):
                setattr(module, name, _Moving(child))
        if isinstance(module, nn.ReLU | nn.Dropout):
            module.inplace = False
    return copied


def examine(model: nn.Module, inputs: Tensor, *, signs_matter: bool) -> None:
    """Run the model once, and refuse it for what captum would do wrong silently.

    Args:
        model: what `followable` returned.
        inputs: (N, *shape), all that will be explained.
        signs_matter: the rule asks for layers whose inputs are not negative.

    Raises:
        InvalidArgument: functions that captum has a rule for as modules only.
        NotApplicable: other functions that do more than move values, a layer that is used twice,
            negative inputs of a layer.
    """
    watch, used, negative = _Watch(), dict[str, int](), set[str]()
    handles = []
    for name, module in model.named_modules():
        if any(True for _ in module.children()):
            continue

        def enter(module: nn.Module, given: Any, name: str = name.removeprefix("0.")) -> None:
            watch.inside += 1
            # Those without a rule may be used again: relevance passes them as it comes.
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
        raise NotApplicable(f"captum's LRP cannot follow a module used twice: {', '.join(twice)}")
    if signs_matter and negative:
        raise NotApplicable(
            "captum's rule changes weights by their own sign, which is right only for inputs >= 0; "
            f"negative inputs reach {', '.join(sorted(negative))}"
        )


def _refuse_functions(found: set[str]) -> None:
    wanted = sorted({_AS_MODULES[name] for name in found if name in _AS_MODULES})
    if wanted:
        raise InvalidArgument.of(
            "model",
            got=f"calls of {', '.join(sorted(found & set(_AS_MODULES)))} outside modules",
            expected=f"modules ({', '.join(wanted)}), since LRP would silently take the gradient",
        )
    if found:
        raise NotApplicable(
            "captum's LRP knows modules only, and the model calls functions that do more than move "
            f"values: {', '.join(sorted(found))}. A sum can be captum's Addition_Module"
        )


class _Watch(TorchFunctionMode):
    """Notes the functions that are called outside leaf modules and do more than move values."""

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
