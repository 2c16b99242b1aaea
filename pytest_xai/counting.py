"""Exact counts of model evaluations: one per image that passes the model."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pytest_xai.verdict import Evaluations

__all__ = ["Counter", "is_counting"]

_ACTIVE = "__xai_counting__"


class Counter:
    """Counts the images that go through a model forward and backward.

    Attributes:
        spent: counts so far.
        on_work: called after every call of an explainer, for progress.
    """

    def __init__(self) -> None:
        self.spent = Evaluations()
        self.on_work: Callable[[], None] | None = None

    def watch(self, model: nn.Module) -> Callable[[], None]:
        """Count all calls of a model, and of deep copies of it; returns how to stop that."""

        # A plain function: deep copies of the model keep it as it is, and so count here too.
        def count(_: nn.Module, __: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.ndim == 0:
                return
            images = len(output)
            self.add(forward=images)
            if output.requires_grad:
                output.register_hook(lambda _: self.add(backward=images))

        handle = model.register_forward_hook(count)
        setattr(count, _ACTIVE, True)

        def stop() -> None:
            setattr(count, _ACTIVE, False)
            handle.remove()

        return stop

    def explained(self, images: int) -> None:
        """Count maps that an explainer made."""
        self.add(explainer_calls=images)
        if self.on_work is not None:
            self.on_work()

    def add(self, *, forward: int = 0, backward: int = 0, explainer_calls: int = 0) -> None:
        """Add to the counts."""
        self.spent = Evaluations(
            forward=self.spent.forward + forward,
            backward=self.spent.backward + backward,
            explainer_calls=self.spent.explainer_calls + explainer_calls,
        )


def is_counting(hook: object) -> bool | None:
    """Whether a hook is a counter's and still counts; None: it is none of ours."""
    active: bool | None = getattr(hook, _ACTIVE, None)
    return active
