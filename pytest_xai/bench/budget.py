"""Charges each verdict for its model evaluations and for the shared tensors that it uses.

A tensor that several checks need is computed once, for the check that asks first. If that check
alone were charged for it, results would depend on the order of the checks, on the selection and on
the number of workers. Therefore every check is charged the full cost of each shared tensor that it
uses, once.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pytest_xai.errors import XaiError

__all__ = ["Budget", "Costs", "OutOfBudget"]


class OutOfBudget(XaiError):
    """An evaluation was refused; `pytest_xai.engine.run_check` makes it an undecided verdict."""


@dataclass(slots=True)
class Budget:
    """The budget of one verdict.

    Attributes:
        limit: model evaluations that the verdict may use; None: there is no limit.
        charged: model evaluations that it was charged so far.
        refused: an evaluation beyond the limit was refused. What the check found since then does
            not count, even where other code caught the error.
        charged_for: keys of the shared tensors that it was charged for.
    """

    limit: int | None = None
    charged: int = 0
    refused: bool = False
    charged_for: set[Hashable] = field(default_factory=set)

    def require(self, evaluations: int) -> None:
        """Check that the limit allows this many further evaluations.

        Raises:
            OutOfBudget: it does not, or it refused some before.
        """
        if self.limit is not None and self.charged + evaluations > self.limit:
            self.refused = True
        if self.refused:
            raise OutOfBudget(f"the budget of {self.limit} evaluations is spent")


@dataclass(slots=True)
class _Cost:
    """The cost of one shared tensor.

    Attributes:
        own: evaluations that made it, without those of other shared tensors.
        uses: keys of the shared tensors that it was made from.
    """

    own: int = 0
    uses: list[Hashable] = field(default_factory=list)


class Costs:
    """The budget of the present verdict, and the cost of every shared tensor of one bench.

    Attributes:
        budget: charged for every evaluation; set by `limited` alone.
        cost_of: costs of the shared tensors by their keys.
    """

    def __init__(self) -> None:
        self.budget = Budget()
        self.cost_of: dict[Hashable, _Cost] = {}
        self._unfinished: list[_Cost] = []

    @contextmanager
    def limited(self, limit: int | None) -> Iterator[Budget]:
        """Charge evaluations to a new budget within the context.

        Args:
            limit: model evaluations; None: there is no limit.
        """
        before, self.budget = self.budget, Budget(limit)
        try:
            yield self.budget
        finally:
            self.budget = before

    def charge(self, evaluations: int) -> None:
        """Charge the budget, and add to the cost of the shared tensor that is being made."""
        self.budget.charged += evaluations
        if self._unfinished:
            self._unfinished[-1].own += evaluations

    @contextmanager
    def making(self, key: Hashable) -> Iterator[None]:
        """Record the evaluations within the context as the cost of a new shared tensor.

        If the context raises, no cost is recorded; the budget stays charged.
        """
        cost = _Cost()
        self._unfinished.append(cost)
        try:
            yield
        finally:
            self._unfinished.pop()
        self.cost_of[key] = cost
        self.budget.charged_for.add(key)
        self._note_use(key)

    def use(self, key: Hashable) -> None:
        """Charge the budget for a shared tensor that exists, and for all that it was made from.

        Raises:
            OutOfBudget: the limit does not allow it.
        """
        self._charge_for(key)
        self._note_use(key)

    def _charge_for(self, key: Hashable) -> None:
        if key in self.budget.charged_for:
            return
        cost = self.cost_of[key]
        self.budget.require(cost.own)
        self.budget.charged_for.add(key)
        # Not `charge`: these evaluations belong to the cost of this tensor alone.
        self.budget.charged += cost.own
        for part in cost.uses:
            self._charge_for(part)

    def _note_use(self, key: Hashable) -> None:
        if self._unfinished:
            self._unfinished[-1].uses.append(key)
