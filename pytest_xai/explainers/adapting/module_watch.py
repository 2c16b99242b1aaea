"""Nonlinearities that a model calls as functions, where a rule that hooks modules cannot see them.

captum's DeepLift, GuidedBackprop and Deconvolution replace the gradient of modules such as nn.ReLU.
A functional ``F.relu`` silently keeps its plain gradient, and the map is another method's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from pytest_xai.errors import InvalidArgument

__all__ = ["no_functional"]


@contextmanager
def no_functional(
    model: nn.Module,
    names: Sequence[str],
    *,
    rule: str,
    covers: Callable[[nn.Module], bool],
) -> Iterator[None]:
    """Watch the model's forward passes inside the context, at the cost of no further pass.

    Backward passes are not watched, so a library's backward hooks may call the same functions.

    Functions are known by their names, as in ``F.relu``, ``torch.relu`` and ``x.relu()``. A
    rectifier written by hand (``clamp``, ``where``, ``maximum``) and scripted code are not seen.

    Args:
        model: the model that runs inside.
        names: functions that have to be called by modules.
        rule: the explainer, as the message calls it.
        covers: whether the rule sees this module.

    Raises:
        InvalidArgument: on leaving, when one of the functions was called outside such a module.
    """
    watch = _Watch(names)
    handles = []
    for module in filter(covers, model.modules()):
        handles.append(module.register_forward_pre_hook(lambda *_: watch.cover(1)))
        handles.append(module.register_forward_hook(lambda *_: watch.cover(-1)))
    try:
        with watch:
            yield
    finally:
        for handle in handles:
            handle.remove()
    if watch.found:
        raise InvalidArgument.of(
            "model",
            got=f"calls of {', '.join(sorted(watch.found))} outside the modules whose gradient "
            f"{rule} replaces",
            expected="each such function as a module of its own (nn.ReLU() for F.relu), since "
            "it would silently keep their plain gradient",
        )


class _Watch(TorchFunctionMode):
    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = frozenset(names)
        self.found: set[str] = set()
        self.in_covered = 0

    def cover(self, step: int) -> None:
        self.in_covered += step

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        name = getattr(func, "__name__", "")
        if not self.in_covered and name in self.names:
            self.found.add(name)
        return func(*args, **(kwargs or {}))
