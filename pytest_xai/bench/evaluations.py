"""Counts model evaluations exactly: one for each image that passes through the model."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from pytest_xai.bench.budget import Costs
from pytest_xai.core.verdict import Evaluations

__all__ = ["Counter", "is_counting"]

_ACTIVE = "__xai_counting__"


class Counter:
    """Counts the images that pass through a model forward and backward.

    Attributes:
        spent: counts so far.
        costs: charges the present verdict for them, and refuses those beyond its budget.
    """

    def __init__(self) -> None:
        self.spent = Evaluations()
        self.costs = Costs()
        self._counts = True
        self._progress: Callable[[int], None] | None = None
        self._reported_from = Evaluations()

    def watch(self, model: nn.Module) -> Callable[[], None]:
        """Count all calls of a model and of its deep copies; return a function that stops it.

        A call beyond the present budget raises `OutOfBudget` before it begins.
        """

        # Plain functions: deep copies of the model keep them as they are, and so count here too.
        def ask(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            self.require(_images(arguments))

        def count(_: nn.Module, __: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.ndim == 0:
                return
            images = len(output)
            self.add(forward=images)
            # `ask` does not see inputs that are passed by keyword.
            self.require(0)
            if output.requires_grad:
                output.register_hook(lambda _: back(images))

        def back(images: int) -> None:
            # The gradient has reached the output; the pass back through the model has not begun.
            self.require(images)
            self.add(backward=images)

        handles = (
            model.register_forward_pre_hook(ask),
            model.register_forward_hook(count),
        )
        for hook in (ask, count):
            setattr(hook, _ACTIVE, True)

        def stop() -> None:
            for hook in (ask, count):
                setattr(hook, _ACTIVE, False)
            for handle in handles:
                handle.remove()

        return stop

    @contextmanager
    def reporting(self, progress: Callable[[int], None]) -> Iterator[None]:
        """Report progress within the context, after every call of an explainer.

        Args:
            progress: called with the model evaluations since the context was entered.
        """
        before = self._progress, self._reported_from
        self._progress, self._reported_from = progress, self.spent
        try:
            yield
        finally:
            self._progress, self._reported_from = before

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """Neither count nor charge nor refuse evaluations within the context."""
        before, self._counts = self._counts, False
        try:
            yield
        finally:
            self._counts = before

    def explained(self, images: int) -> None:
        """Count maps that an explainer made, and report progress."""
        self.add(explainer_calls=images)
        if self._progress is not None:
            self._progress((self.spent - self._reported_from).model)

    def require(self, evaluations: int) -> None:
        """Check that the budget allows this many further evaluations.

        Raises:
            OutOfBudget: it does not.
        """
        if self._counts:
            self.costs.budget.require(evaluations)

    def add(self, *, forward: int = 0, backward: int = 0, explainer_calls: int = 0) -> None:
        """Add to the counts, and charge the budget for the model evaluations."""
        if not self._counts:
            return
        self.costs.charge(forward + backward)
        self.spent = Evaluations(
            forward=self.spent.forward + forward,
            backward=self.spent.backward + backward,
            explainer_calls=self.spent.explainer_calls + explainer_calls,
        )


def _images(arguments: Iterable[object]) -> int:
    """Images in a call of a model: the length of its first tensor."""
    tensors = (each for each in arguments if isinstance(each, Tensor) and each.ndim)
    return next((len(tensor) for tensor in tensors), 0)


def is_counting(hook: object) -> bool | None:
    """Return whether a hook of a counter still counts; None for any other hook."""
    active: bool | None = getattr(hook, _ACTIVE, None)
    return active
