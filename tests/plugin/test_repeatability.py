"""One run, one report: whatever the state of the process, the order, the selection, the seed."""

import pytest

from studies.repeatability import ORDERS, orders, repeats, seeds


@pytest.mark.parametrize("count", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_the_same_run_gives_the_same_report_and_moves_no_global_generator(count, capsys):
    assert repeats(count, hashings=("1",) if count > 2 else ()), capsys.readouterr().out


@pytest.mark.slow
def test_orders_selections_and_workers_give_the_same_verdicts(capsys):
    assert orders(ORDERS), capsys.readouterr().out


@pytest.mark.slow
def test_right_explainers_fail_no_more_often_than_was_promised(capsys):
    assert seeds(40), capsys.readouterr().out
