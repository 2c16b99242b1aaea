"""What each check may spend on networks that are made for it."""

from dataclasses import dataclass

from pytest_xai.registry import Cost

__all__ = ["Purse", "price"]

# The float64 copy of a check, should it come to that, costs as much again.
_WITH_ARBITRATION = 2.0


@dataclass(slots=True)
class Purse:
    """Model evaluations that one check may spend, spread evenly over all networks to come.

    Attributes:
        budget: how many; None: no limit.
        spent: of them.
        dearest: the most that a network cost of what was expected of it.
    """

    budget: int | None
    spent: int = 0
    dearest: float = _WITH_ARBITRATION

    def holds(self, expected: int, *, by_now: float = 1.0) -> bool:
        """Whether a network of this cost can be paid for; always without a budget.

        Args:
            expected: evaluations by the declared cost.
            by_now: share of the budget that may be gone after it, from 0 to 1. So a budget that
                is too small for all networks buys every second or third, not the first ones.
        """
        if self.budget is None:
            return True
        even = self.spent + expected <= self.budget * by_now
        return even and self.spent + expected * self.dearest <= self.budget

    def pay(self, expected: int, made: int) -> None:
        """Take out what a network cost.

        Never less than expected: what others have computed before costs nothing, and which
        networks a check sees must not depend on the others.
        """
        self.dearest = max(self.dearest, made / max(expected, 1))
        self.spent += max(expected, made)


def price(cost: Cost, *, images: int, per_map: int) -> int:
    """Model evaluations of a check by its declared cost, with what a map costs here."""
    return images * (cost.forward + cost.backward + cost.explainer_calls * per_map)
