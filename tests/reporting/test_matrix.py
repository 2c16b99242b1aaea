"""The matrix: every verdict in its place, tables no wider than the terminal."""

from dataclasses import replace

import pytest

from pytest_xai.core.run import Run, Terminal
from pytest_xai.reporting.matrix import matrix
from pytest_xai.reporting.terminal import console_of, report

CHECKS = {
    "contract": ["batch_independent", "deterministic", "finite", "shape", "target_sensitive"],
    "adversarial": ["deepfool_dice", "fgsm_dice"],
    "axiomatic": ["summation_to_delta"],
}


@pytest.fixture
def verdicts(verdict):
    return [
        verdict(explainer=explainer, check=check, family=family)
        for explainer in ("ig", "a_rather_long_name_of_an_explainer")
        for family, checks in CHECKS.items()
        for check in checks
    ]


def drawn(verdicts, width):
    return report(verdicts, Run(terminal=Terminal(width=width))).splitlines()


def single_spaced(verdicts):
    return [" ".join(line.split()) for line in drawn(verdicts, 80)]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 200])
def test_no_line_is_wider_than_the_terminal(verdicts, width):
    assert max(len(line) for line in drawn(verdicts, width)) <= width


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 200])
def test_no_name_is_cut(verdicts, width):
    names = {each.check for each in verdicts}
    console = console_of(Terminal(width=width))
    for _, table in matrix(verdicts, [], console=console):
        for column in table.columns[1:]:
            assert column.header.plain.replace("\n", "") in names
    text = "".join(line.split(" ")[0] for line in drawn(verdicts, width))
    assert "a_rather_long_name_of_an_explainer" in text


def test_families_stay_together_where_they_fit(verdicts):
    titles = [title for title, _ in matrix(verdicts, [], console=console_of(Terminal(width=80)))]
    assert titles == ["contract", "contract (continued), adversarial, axiomatic"]
    titles = [title for title, _ in matrix(verdicts, [], console=console_of(Terminal(width=200)))]
    assert titles == ["contract, adversarial, axiomatic"]
    titles = [title for title, _ in matrix(verdicts, [], console=console_of(Terminal(width=60)))]
    assert titles == ["contract", "contract (continued)", "adversarial", "axiomatic"]


def test_cells_say_the_outcome_in_words(verdict):
    outcomes = ["passed", "failed", "undecided", "not_applicable", "error", "xfailed", "xpassed"]
    verdicts = [verdict(check=f"c{n}", outcome=outcome) for n, outcome in enumerate(outcomes)]
    assert "ig pass FAIL undecided n/a ERROR xfail XPASS" in single_spaced(verdicts)
    verdicts = [replace(each, asserted=False) for each in verdicts]
    assert "ig (pass) (fail) (undecided) (n/a) (error) (xfail) (xpass)" in single_spaced(verdicts)


def test_what_is_not_planned_is_blank_and_columns_stand_in_the_order_of_the_registry(verdict):
    verdicts = [
        verdict(explainer="a", check="z"),
        verdict(explainer="b", check="y"),
        verdict("b", "x"),
    ]
    ((_, table),) = matrix(verdicts, ["x", "y", "z"], console=console_of(Terminal()))
    assert [column.header.plain for column in table.columns] == ["explainer", "x", "y", "z"]
    assert [[cell.plain for cell in column.cells] for column in table.columns] == [
        ["a", "b"],
        ["", "pass"],
        ["", "pass"],
        ["pass", ""],
    ]


@pytest.mark.parametrize("outcomes", [["passed", "failed"], ["failed", "passed"]])
def test_of_several_verdicts_the_failing_one_is_shown(verdict, outcomes):
    verdicts = [verdict(outcome=outcome) for outcome in outcomes]
    assert "ig FAIL" in single_spaced(verdicts)


def test_one_matrix_per_subject(verdict):
    text = report([verdict(), verdict(subject="other")], Run())
    assert text.index("net: contract") < text.index("other: contract")
