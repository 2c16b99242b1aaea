"""What a check may spend, and that it is spread over all networks."""

import pytest

from pytest_xai.engine.exploration.check_budget import Purse, price
from pytest_xai.registry import Cost


def seen(purse, networks, cost):
    """Places of those networks that are paid for."""
    places = []
    for place in range(1, networks + 1):
        if purse.holds(cost, by_now=place / networks):
            purse.pay(cost, cost)
            places.append(place)
    return places


def test_a_price_is_the_declared_cost_with_the_maps_of_this_explainer():
    cost = Cost(forward=3, backward=2, explainer_calls=4)
    assert price(cost, images=2, per_map=1) == 2 * cost.least == 18
    assert price(cost, images=2, per_map=100) == 2 * (3 + 2 + 400)


def test_a_budget_for_half_of_the_networks_buys_some_of_all_of_them():
    assert seen(Purse(60), 10, 10) == [2, 4, 5, 7, 9]
    assert seen(Purse(40), 10, 10) == [3, 5, 8]
    assert seen(Purse(1000), 10, 10) == list(range(1, 11))
    assert seen(Purse(None), 10, 10) == list(range(1, 11))
    assert seen(Purse(0), 10, 10) == []


@pytest.mark.parametrize("budget", [0, 19, 20, 35, 100])
def test_never_more_is_spent_than_there_is(budget):
    purse = Purse(budget)
    seen(purse, 7, 10)
    assert purse.spent <= budget


def test_room_is_left_for_arbitration_and_for_what_was_dear_before():
    assert not Purse(19).holds(10)
    assert Purse(20).holds(10)
    purse = Purse(100)
    purse.pay(10, 50)
    assert (purse.spent, purse.dearest) == (50, 5.0)
    assert purse.holds(10)
    assert not purse.holds(11)


def test_what_others_have_computed_before_is_paid_for_all_the_same():
    purse = Purse(100)
    purse.pay(10, 0)
    assert (purse.spent, purse.dearest) == (10, 2.0)
