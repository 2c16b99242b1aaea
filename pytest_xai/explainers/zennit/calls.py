"""A call of a torch function as a module with a zennit rule on it.

zennit hooks modules. A network may also call functions (F.relu, x + y, x.mean()), which its hooks
do not see, and it may run one module twice, of which they remember the last run alone: both give
wrong maps without a word. So the rules are put on calls: a mode of torch sees every function that
the forward pass calls, in modules or outside, and each call gets a module and a rule of its own.
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
        weight: of a linear layer; None: the call has no weights.
        bias: likewise.
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
        """Take these values from now on, without copying them."""
        for name, value in (("weight", weight), ("bias", bias)):
            own = None if value is None else nn.Parameter(value.detach(), requires_grad=False)
            setattr(self, name, own)

    def forward(self, inputs: Tensor) -> Any:
        """Call the function; with the weights, if it has some."""
        if self.weight is None:
            return self.function(inputs)
        return self.function(inputs, self.weight, self.bias)


def attached(call: Call, rule: Any, inputs: Tensor, *, live: list[Any]) -> Any:
    """The result of a call whose backward pass will follow a rule.

    Args:
        call: the call.
        rule: a hook of zennit, of this call alone.
        inputs: what it is called with.
        live: keeps the rule, which torch refers to weakly.
    """
    rule.register(call)
    live.append(rule)
    return call(inputs)


@contextmanager
def released(live: list[Any]) -> Iterator[None]:
    """Free what the rules remember, which are circles of references, on leaving."""
    try:
        yield
    finally:
        for rule in live:
            rule.remove()
        live.clear()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No parameter requires gradients inside: what does, depends on the inputs."""
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
    """The tensors in a value, or in lists in it, that depend on the inputs."""
    if isinstance(value, Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, Mapping):
        return [found for part in value.values() for found in active(part)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [found for part in value for found in active(part)]
    return []


def name_of(function: Callable[..., Any]) -> str:
    """The function's name, without the underscores of in-place and special methods."""
    return getattr(function, "__name__", str(function)).strip("_")


def in_place(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call overwrites its first argument."""
    name = getattr(function, "__name__", "")
    if name.startswith("__"):
        return name in {"__iadd__", "__isub__", "__imul__", "__idiv__", "__itruediv__"}
    return name.endswith("_") or kwargs.get("inplace") is True
