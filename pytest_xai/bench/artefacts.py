"""Keeps the tensors that several checks need, and charges each verdict that uses them."""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor

from pytest_xai.bench.budget import Costs

__all__ = ["Artefacts"]

Made = TypeVar("Made", bound=Tensor | Mapping[str, Tensor])

Span = tuple[int, int]
"""Position of the first image of a chunk in the order of the bench, and its number of images."""


class Artefacts:
    """Shared tensors of one model and its images, each made when it is first asked for.

    Args:
        costs: charges the present verdict for what it uses.
        owner: name of the model among those that share the costs.
    """

    def __init__(self, costs: Costs, *, owner: str) -> None:
        self._costs = costs
        self._owner = owner
        self._made: dict[Hashable, Tensor | Mapping[str, Tensor]] = {}
        self._alive: dict[int, object] = {}

    def share(
        self, key: Hashable, makers: Mapping[Span, Callable[[], Made]]
    ) -> Tensor | dict[str, Tensor]:
        """Return a tensor of some images, made chunk by chunk and kept for later calls.

        Args:
            key: its name, with all that it depends on besides the images.
            makers: for each chunk in order, the function that makes its tensor (n, ...), or
                several named tensors.

        Returns:
            A copy, (N, ...): the tensors of the chunks, concatenated; or such a copy by name.
        """
        parts = [self.once(("chunk", key, *span), make) for span, make in makers.items()]
        if isinstance(parts[0], Tensor):
            return torch.cat(cast("list[Tensor]", parts))
        named = cast("list[Mapping[str, Tensor]]", parts)
        return {name: torch.cat([part[name] for part in named]) for name in named[0]}

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what is kept under a key, and make it first where nothing is.

        Every verdict that asks is charged the evaluations that made it.

        Args:
            key: its name.
            make: makes it.

        Returns:
            The kept tensors themselves: do not change them.

        Raises:
            OutOfBudget: the budget of the verdict does not allow it.
        """
        cost_key = (self._owner, key)
        if key in self._made:
            self._costs.use(cost_key)
        else:
            with self._costs.making(cost_key):
                self._made[key] = make()
        return cast("Made", self._made[key])

    def keep_alive(self, value: object) -> int:
        """Keep an object as long as the artefacts; return its identity, which stays unique."""
        self._alive[id(value)] = value
        return id(value)
