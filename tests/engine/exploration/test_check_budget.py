"""What a check may spend, and that it is spread over all networks."""

import pytest

from pytest_xai.engine.exploration.check_budget import CheckBudget, expected_cost
from pytest_xai.registry import Cost


def seen(budget, networks, cost):
    """Places of those networks that are paid for."""
    places = []
    for place in range(1, networks + 1):
        if budget.affords(cost, by_now=place / networks):
            budget.spend(cost, cost)
            places.append(place)
    return places


def test_an_expected_cost_is_the_declared_cost_with_the_maps_of_this_explainer():
    cost = Cost(forward=3, backward=2, explainer_calls=4)
    assert expected_cost(cost, images=2, per_map=1) == 2 * cost.least == 18
    assert expected_cost(cost, images=2, per_map=100) == 2 * (3 + 2 + 400)


def test_a_budget_for_half_of_the_networks_buys_some_of_all_of_them():
    assert seen(CheckBudget(60), 10, 10) == [2, 4, 5, 7, 9]
    assert seen(CheckBudget(40), 10, 10) == [3, 5, 8]
    assert seen(CheckBudget(1000), 10, 10) == list(range(1, 11))
    assert seen(CheckBudget(None), 10, 10) == list(range(1, 11))
    assert seen(CheckBudget(0), 10, 10) == []


@pytest.mark.parametrize("limit", [0, 19, 20, 35, 100])
def test_never_more_is_spent_than_there_is(limit):
    budget = CheckBudget(limit)
    seen(budget, 7, 10)
    assert budget.spent <= limit


def test_room_is_left_for_arbitration_and_for_what_was_expensive_before():
    assert not CheckBudget(19).affords(10)
    assert CheckBudget(20).affords(10)
    budget = CheckBudget(100)
    budget.spend(10, 50)
    assert (budget.spent, budget.highest_cost_ratio) == (50, 5.0)
    assert budget.affords(10)
    assert not budget.affords(11)


def test_what_others_have_computed_before_is_paid_for_all_the_same():
    budget = CheckBudget(100)
    budget.spend(10, 0)
    assert (budget.spent, budget.highest_cost_ratio) == (10, 2.0)
