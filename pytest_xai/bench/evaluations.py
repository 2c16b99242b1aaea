"""Exact counts of model evaluations: one per image that passes the model."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from pytest_xai.bench.budget import Ledger
from pytest_xai.core.verdict import Evaluations

__all__ = ["Counter", "is_counting"]

_ACTIVE = "__xai_counting__"


class Counter:
    """Counts the images that go through a model forward and backward.

    Attributes:
        spent: counts so far.
        ledger: which verdict owes how many of them; refuses those beyond its budget.
        on_work: called after every call of an explainer, for progress.
    """

    def __init__(self) -> None:
        self.spent = Evaluations()
        self.ledger = Ledger()
        self.on_work: Callable[[], None] | None = None

    def watch(self, model: nn.Module) -> Callable[[], None]:
        """Count all calls of a model, and of deep copies of it; returns how to stop that.

        A call beyond the budget of the present account raises `OutOfBudget` before it begins.
        """

        # Plain functions: deep copies of the model keep them as they are, and so count here too.
        def ask(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            self.ledger.account.require(_images(arguments))

        def count(_: nn.Module, __: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.ndim == 0:
                return
            images = len(output)
            self.add(forward=images)
            # Inputs that come by keyword are not seen before.
            self.ledger.account.require(0)
            if output.requires_grad:
                output.register_hook(lambda _: back(images))

        def back(images: int) -> None:
            # The gradient is at the output: nothing of the pass through the model is done yet.
            self.ledger.account.require(images)
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

    def explained(self, images: int) -> None:
        """Count maps that an explainer made."""
        self.add(explainer_calls=images)
        if self.on_work is not None:
            self.on_work()

    def add(self, *, forward: int = 0, backward: int = 0, explainer_calls: int = 0) -> None:
        """Add to the counts."""
        self.ledger.charge(forward + backward)
        self.spent = Evaluations(
            forward=self.spent.forward + forward,
            backward=self.spent.backward + backward,
            explainer_calls=self.spent.explainer_calls + explainer_calls,
        )


def _images(arguments: Iterable[object]) -> int:
    """Images in a call of a model: those of the first tensor."""
    tensors = (each for each in arguments if isinstance(each, Tensor) and each.ndim)
    return next((len(tensor) for tensor in tensors), 0)


def is_counting(hook: object) -> bool | None:
    """Whether a hook is a counter's and still counts; None: it is none of ours."""
    active: bool | None = getattr(hook, _ACTIVE, None)
    return active
