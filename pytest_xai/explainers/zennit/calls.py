"""Modules that stand for single calls of torch functions, so that each has its own zennit rule.

zennit sets hooks on modules. A network may also call functions (F.relu, x + y, x.mean()), which
hooks on modules do not see, and it may run a module twice, where hooks keep only the last run. In
both cases zennit silently gives wrong maps. Here the rules apply to calls instead: a function mode
of torch sees every function that the forward pass calls, and each call gets a module and a rule.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Call", "active", "attached", "frozen", "in_place", "name_of", "released"]


class Call(nn.Module):
    """One call, which a rule can repeat with other inputs and other weights.

    Attributes:
        weight: weight of a linear layer; None for a call without weights.
        bias: bias of a linear layer, or None.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        function: Callable[..., Any],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.function = function
        self.set(weight, bias)

    def set(self, weight: Tensor | None, bias: Tensor | None) -> None:
        """Replace the weight and bias by these values, without copying them."""
        for name, value in (("weight", weight), ("bias", bias)):
            own = None if value is None else nn.Parameter(value.detach(), requires_grad=False)
            setattr(self, name, own)

    def forward(self, inputs: Tensor) -> Any:
        """Call the function, with the weight and bias if there is a weight."""
        if self.weight is None:
            return self.function(inputs)
        return self.function(inputs, self.weight, self.bias)


def attached(call: Call, rule: Any, inputs: Tensor, *, live: list[Any]) -> Any:
    """Run a call whose backward pass will follow a rule, and return its result.

    Args:
        call: the call.
        rule: a hook of zennit, used for this call only.
        inputs: the argument of the call.
        live: list that keeps a reference to the rule, since torch keeps only a weak one.
    """
    rule.register(call)
    live.append(rule)
    return call(inputs)


@contextmanager
def released(live: list[Any]) -> Iterator[None]:
    """On leaving, remove the rules, which would keep tensors alive by cyclic references."""
    try:
        yield
    finally:
        for rule in live:
            rule.remove()
        live.clear()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Disable gradients of parameters, so that only tensors that depend on inputs require them."""
    parameters = [value for value in model.parameters() if value.requires_grad]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def active(value: object) -> list[Tensor]:
    """Return the tensors in a value, or in nested containers, that depend on the inputs."""
    if isinstance(value, Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, Mapping):
        return [found for part in value.values() for found in active(part)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [found for part in value for found in active(part)]
    return []


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name without the underscores of in-place and special methods."""
    return getattr(function, "__name__", str(function)).strip("_")


def in_place(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether a call overwrites its first argument."""
    name = getattr(function, "__name__", "")
    if name.startswith("__"):
        return name in {"__iadd__", "__isub__", "__imul__", "__idiv__", "__itruediv__"}
    return name.endswith("_") or kwargs.get("inplace") is True
