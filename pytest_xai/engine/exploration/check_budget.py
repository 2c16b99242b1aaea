"""The budget of one check on networks that are generated for it."""

from dataclasses import dataclass

from pytest_xai.registry import Cost

__all__ = ["CheckBudget", "expected_cost"]

# Deciding a float32 failure in float64 costs as much again.
_WITH_ARBITRATION = 2.0


@dataclass(slots=True)
class CheckBudget:
    """Model evaluations that one check may spend, spread evenly over all networks to come.

    Attributes:
        limit: how many evaluations; None means no limit.
        spent: how many of them are spent.
        highest_cost_ratio: the largest ratio so far of what a network cost to what was expected.
    """

    limit: int | None
    spent: int = 0
    highest_cost_ratio: float = _WITH_ARBITRATION

    def affords(self, expected: int, *, by_now: float = 1.0) -> bool:
        """Return whether a network of this expected cost can be paid for.

        Args:
            expected: evaluations by the declared cost.
            by_now: share of the limit that may be spent after it, from 0 to 1. A budget that is
                too small for all networks then pays for every second or third network, and not
                for the first ones only.
        """
        if self.limit is None:
            return True
        even = self.spent + expected <= self.limit * by_now
        return even and self.spent + expected * self.highest_cost_ratio <= self.limit

    def spend(self, expected: int, made: int) -> None:
        """Subtract the cost of a network.

        It is never less than expected. Tensors that other checks computed before cost nothing, and
        the choice of networks for a check must not depend on the other checks.
        """
        self.highest_cost_ratio = max(self.highest_cost_ratio, made / max(expected, 1))
        self.spent += max(expected, made)


def expected_cost(cost: Cost, *, images: int, per_map: int) -> int:
    """Return the model evaluations of a check by its declared cost and the cost of a map here."""
    return images * (cost.forward + cost.backward + cost.explainer_calls * per_map)
