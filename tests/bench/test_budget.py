"""A verdict is charged its own evaluations and, once each, those of the tensors it shares."""

import contextlib

import pytest

from pytest_xai.bench.budget import Budget, Costs, OutOfBudget


def make(costs, key, own, *parts):
    """Make a shared tensor: its own evaluations, then the tensors that it is made from."""
    with costs.making(key):
        costs.budget.require(own)
        costs.charge(own)
        for part, cost in parts:
            make(costs, part, cost)


def test_all_evaluations_are_charged():
    costs = Costs()
    costs.charge(3)
    make(costs, "a", 10, ("b", 5))
    assert costs.budget.charged == 18
    assert costs.budget.charged_for == {"a", "b"}


def test_the_cost_of_a_shared_tensor_is_its_own_and_that_of_its_parts():
    costs = Costs()
    make(costs, "a", 10, ("b", 5))
    assert (costs.cost_of["a"].own, costs.cost_of["a"].uses) == (10, ["b"])
    assert (costs.cost_of["b"].own, costs.cost_of["b"].uses) == (5, [])


def test_the_next_verdict_is_charged_what_it_uses_with_all_its_parts_once():
    costs = Costs()
    make(costs, "a", 10, ("b", 5))
    with costs.limited(None) as budget:
        for key, charged in (("a", 15), ("b", 15), ("a", 15)):
            costs.use(key)
            assert budget.charged == charged
    with costs.limited(None) as budget:
        costs.use("b")
        assert budget.charged == 5


def test_a_part_that_another_verdict_made_is_a_cost_of_the_whole():
    costs = Costs()
    make(costs, "b", 5)
    with costs.limited(None) as budget:
        with costs.making("a"):
            costs.charge(10)
            costs.use("b")
        assert budget.charged == 15
    with costs.limited(None) as budget:
        costs.use("a")
        assert budget.charged == 15


def fail(costs, key, own):
    with costs.making(key):
        costs.charge(own)
        raise ZeroDivisionError


def test_a_tensor_that_could_not_be_made_has_no_cost_but_its_evaluations_stay_charged():
    costs = Costs()
    with pytest.raises(ZeroDivisionError):
        fail(costs, "a", 10)
    assert costs.budget.charged == 10
    assert costs.cost_of == {}
    make(costs, "a", 4)
    with costs.limited(None) as budget:
        costs.use("a")
        assert budget.charged == 4


@pytest.mark.parametrize("limit, refused", [(14, True), (15, False)])
@pytest.mark.parametrize("there", [False, True])
def test_a_budget_refuses_the_same_whether_or_not_the_tensor_exists(limit, refused, there):
    costs = Costs()
    if there:
        make(costs, "a", 10, ("b", 5))
    expected = pytest.raises(OutOfBudget, match="the budget of 14 evaluations is spent")
    with costs.limited(limit) as budget, expected if refused else contextlib.nullcontext():
        if there:
            costs.use("a")
        else:
            make(costs, "a", 10, ("b", 5))
    assert budget.refused is refused
    assert budget.charged <= limit


def test_a_budget_ends_with_its_context():
    costs = Costs()
    first = costs.budget
    assert first.limit is None
    with contextlib.suppress(ZeroDivisionError), costs.limited(10) as budget:
        assert costs.budget is budget
        assert budget.limit == 10
        with costs.limited(3) as inner:
            costs.charge(2)
        costs.charge(1)
        raise ZeroDivisionError
    assert costs.budget is first
    assert (first.charged, budget.charged, inner.charged) == (0, 1, 2)


def test_after_a_refusal_nothing_is_granted():
    budget = Budget(limit=10)
    with pytest.raises(OutOfBudget):
        budget.require(11)
    with pytest.raises(OutOfBudget):
        budget.require(0)
    Budget(limit=0).require(0)
    Budget().require(10**9)
