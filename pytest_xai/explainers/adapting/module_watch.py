"""Detection of nonlinearities that a model calls as functions, which module hooks cannot see.

captum's DeepLift, GuidedBackprop and Deconvolution replace the gradient of modules such as nn.ReLU.
A functional ``F.relu`` keeps its plain gradient without a warning, and the map is then wrong.
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
    """Watch the model's forward passes inside the context, without further passes.

    Backward passes are not watched, so a library's backward hooks may call the same functions.

    Functions are recognised by their names, as in ``F.relu``, ``torch.relu`` and ``x.relu()``. A
    rectifier written by hand (``clamp``, ``where``, ``maximum``) and scripted code are not seen.

    Args:
        model: the model that runs inside the context.
        names: names of functions that only modules may call.
        rule: the explainer's name in the message.
        covers: returns whether the explainer replaces the gradient of this module.

    Raises:
        InvalidArgument: on leaving, if one of the functions was called outside such a module.
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
            expected="a module of its own for each such function (nn.ReLU() for F.relu), since "
            f"{rule} would silently keep the plain gradient of a function",
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
