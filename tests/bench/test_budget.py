"""What a verdict owes: its own evaluations, and once each what it shares, whoever made it."""

import contextlib

import pytest

from pytest_xai.bench.budget import Account, Ledger, OutOfBudget


def make(ledger, key, own, *parts):
    """An artefact: its own evaluations, then other artefacts, made if nobody made them."""
    with ledger.making(key):
        ledger.account.require(own)
        ledger.charge(own)
        for part, cost in parts:
            make(ledger, part, cost)


def test_whatever_is_evaluated_is_owed():
    ledger = Ledger()
    ledger.charge(3)
    make(ledger, "a", 10, ("b", 5))
    assert ledger.account.owed == 18


def test_the_next_verdict_owes_what_it_uses_with_all_its_parts_once():
    ledger = Ledger()
    make(ledger, "a", 10, ("b", 5))
    ledger.account = Account()
    for key, owed in (("a", 15), ("b", 15), ("a", 15)):
        ledger.use(key)
        assert ledger.account.owed == owed
    ledger.account = Account()
    ledger.use("b")
    assert ledger.account.owed == 5


def test_a_part_that_another_verdict_made_is_on_the_bill_of_the_whole():
    ledger = Ledger()
    make(ledger, "b", 5)
    ledger.account = Account()
    with ledger.making("a"):
        ledger.charge(10)
        ledger.use("b")
    assert ledger.account.owed == 15
    ledger.account = Account()
    ledger.use("a")
    assert ledger.account.owed == 15


def fail(ledger, key, own):
    with ledger.making(key):
        ledger.charge(own)
        raise ZeroDivisionError


def test_what_did_not_come_to_be_has_no_bill_and_was_paid_for():
    ledger = Ledger()
    with pytest.raises(ZeroDivisionError):
        fail(ledger, "a", 10)
    assert ledger.account.owed == 10
    ledger.account = Account()
    make(ledger, "a", 4)
    ledger.account = Account()
    ledger.use("a")
    assert ledger.account.owed == 4


@pytest.mark.parametrize("limit, refused", [(14, True), (15, False)])
@pytest.mark.parametrize("there", [False, True])
def test_an_account_refuses_the_same_whether_or_not_it_is_there(limit, refused, there):
    ledger = Ledger()
    if there:
        make(ledger, "a", 10, ("b", 5))
    ledger.account = Account(limit)
    expected = pytest.raises(OutOfBudget, match="the budget of 14 evaluations is spent")
    with expected if refused else contextlib.nullcontext():
        if there:
            ledger.use("a")
        else:
            make(ledger, "a", 10, ("b", 5))
    assert ledger.account.refused is refused
    assert ledger.account.owed <= limit


def test_after_a_refusal_nothing_is_granted():
    account = Account(limit=10)
    with pytest.raises(OutOfBudget):
        account.require(11)
    with pytest.raises(OutOfBudget):
        account.require(0)
    Account(limit=0).require(0)
    Account().require(10**9)
