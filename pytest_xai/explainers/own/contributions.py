"""A tensor type that carries the contributions of DeepLIFT through a model.

The model runs unchanged. Torch reports each function and method that the model calls on such a
tensor, and the rule for it is applied. A call without a rule ends the run with an error, so that no
contribution is lost silently.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.own.contribution_rules import (
    IDENTITIES,
    Call,
    no_rule,
    rule_of,
)

__all__ = ["Contributions"]

# Operations inside see plain tensors; torch has no public name for this.
_PLAINLY = torch._C.DisableTorchFunctionSubclass  # noqa: SLF001
# Methods that do not read the values of a tensor.
_QUESTIONS = frozenset({
    *("size", "dim", "ndimension", "numel", "nelement", "__len__", "stride", "is_contiguous"),
    *("is_floating_point", "is_complex", "element_size", "get_device"),
})  # fmt: skip


class Contributions(Tensor):
    """Activations (2 N, ...) at N inputs and then at their references, with their parts.

    Attributes:
        parts: (2 N, ...), N positive parts of the differences, then N negative parts.
        cancelling: True if elementwise functions follow RevealCancel, False for Rescale.
        written: torch's count of in-place changes of the activations when the parts were set.
    """

    parts: Tensor
    cancelling: bool
    written: int

    @staticmethod
    def of(values: Tensor, parts: Tensor, *, cancelling: bool) -> "Contributions":
        """Join activations and parts.

        Args:
            values: activations (2 N, ...).
            parts: their parts, of the same shape.
            cancelling: True for RevealCancel, False for Rescale.
        """
        joined = values.as_subclass(Contributions)
        joined.cancelling = cancelling
        joined.carry(parts)
        return joined

    def carry(self, parts: Tensor) -> None:
        """Store these parts, which belong to the present values of the activations."""
        self.parts = parts
        with _PLAINLY():
            self.written = self._version

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one call of the model on the activations, and its rule on their parts.

        Raises:
            NotApplicable: there is no rule for the call.
        """
        name = getattr(func, "__name__", str(func))
        with _PLAINLY(), torch.enable_grad():
            if name in _QUESTIONS or name == "__get__":
                answer = func(*args, **(kwargs or {}))
                if isinstance(answer, Tensor):
                    raise no_rule(getattr(getattr(func, "__self__", None), "__name__", name))
                return answer
            return _called(func, name, args, dict(kwargs or {}))


def _called(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    first = _first(args)
    if name in IDENTITIES and first is args[0]:
        if options.get("training", args[2] if len(args) > 2 else "dropout" in name):
            raise no_rule(f"{name} while training")
        return first
    inner = name.startswith("__")
    in_place = (name.endswith("_") and not inner) or options.pop("inplace", False)
    if name.endswith("_") and not inner:
        name = name[:-1]
        func = getattr(Tensor, name) if hasattr(Tensor, name) else getattr(functional, name, func)
    parts = tuple(_mapped(arg, _parts, other=None) for arg in args)
    rule = rule_of(name, parts)
    if rule is None or first is None:
        raise no_rule(name)
    call = Call(
        name=name,
        function=func,
        args=tuple(_mapped(arg, _plain) for arg in args),
        parts=parts,
        options=options,
        cancelling=first.cancelling,
    )
    values, made = rule(call)
    return _written(args[0], values, made) if in_place else _wrapped(first, values, made, name)


def _wrapped(first: Contributions, values: Any, parts: Any, name: str) -> Any:
    """Return the result as tensors that carry their parts."""
    if isinstance(values, list | tuple):
        return tuple(
            _wrapped(first, value, own, name) for value, own in zip(values, parts, strict=True)
        )
    if values.ndim == 0 or len(values) != len(first):
        raise no_rule(f"{name} along the images of a batch")
    return Contributions.of(values, parts.expand_as(values), cancelling=first.cancelling)


def _written(target: Any, values: Tensor, parts: Tensor) -> Any:
    """Write the result into the first argument, and return it."""
    if not isinstance(target, Contributions):
        raise no_rule("writing an activation into a constant")
    with torch.no_grad():
        target.copy_(values)
    target.carry(parts.expand_as(values))
    return target


def _mapped(arg: Any, function: Callable[[Contributions], Tensor], **other: Any) -> Any:
    """Replace each activation in an argument, and all else by ``other`` if that is given."""
    if isinstance(arg, Contributions):
        return function(arg)
    if isinstance(arg, list | tuple) and _first(tuple(arg)) is not None:
        return [_mapped(each, function, **other) for each in arg]
    return other.get("other", arg)


def _plain(activations: Contributions) -> Tensor:
    if activations._version != activations.written:  # noqa: SLF001  # torch has no public name for it
        raise NotApplicable("the model writes into an activation through a view of it")
    return activations.as_subclass(Tensor)


def _parts(activations: Contributions) -> Tensor:
    return activations.parts


def _first(args: tuple[Any, ...]) -> Contributions | None:
    """Return the first activation among arguments and lists of arguments."""
    for arg in args:
        inside = _first(tuple(arg)) if isinstance(arg, list | tuple) else arg
        if isinstance(inside, Contributions):
            return inside
    return None
