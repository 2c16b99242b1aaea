"""The matrix: every verdict in its place, tables no wider than the terminal."""

import pytest

from pytest_xai.reporting.matrix import matrix
from pytest_xai.reporting.terminal import Look, Run, summary

CHECKS = {
    "contract": ["batch_independent", "deterministic", "finite", "shape", "target_sensitive"],
    "adversarial": ["deepfool_dice", "fgsm_dice"],
    "axiomatic": ["summation_to_delta"],
}


@pytest.fixture
def rows(row):
    return [
        row(explainer=explainer, check=check, family=family)
        for explainer in ("ig", "a_rather_long_name_of_an_explainer")
        for family, checks in CHECKS.items()
        for check in checks
    ]


def drawn(rows, width):
    return summary(rows, Run(), Look(width=width)).splitlines()


def single_spaced(rows):
    return [" ".join(line.split()) for line in drawn(rows, 80)]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 200])
def test_no_line_is_wider_than_the_terminal(rows, width):
    assert max(len(line) for line in drawn(rows, width)) <= width


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 200])
def test_no_name_is_cut(rows, width):
    names = {row["check"] for row in rows}
    look = Look(width=width)
    for _, table in matrix(rows, [], console=look.console()):
        for column in table.columns[1:]:
            assert column.header.plain.replace("\n", "") in names
    text = "".join(line.split(" ")[0] for line in drawn(rows, width))
    assert "a_rather_long_name_of_an_explainer" in text


def test_families_stay_together_where_they_fit(rows):
    titles = [title for title, _ in matrix(rows, [], console=Look(width=80).console())]
    assert titles == ["contract", "contract (continued), adversarial, axiomatic"]
    titles = [title for title, _ in matrix(rows, [], console=Look(width=200).console())]
    assert titles == ["contract, adversarial, axiomatic"]
    titles = [title for title, _ in matrix(rows, [], console=Look(width=60).console())]
    assert titles == ["contract", "contract (continued)", "adversarial", "axiomatic"]


def test_cells_say_the_outcome_in_words(row):
    outcomes = ["passed", "failed", "undecided", "not_applicable", "error", "xfailed", "xpassed"]
    rows = [row(check=f"c{n}", outcome=outcome) for n, outcome in enumerate(outcomes)]
    assert "ig pass FAIL undec n/a ERROR xfail XPASS" in single_spaced(rows)
    rows = [each | {"asserted": False} for each in rows]
    assert "ig (pass) (fail) (undec) (n/a) (error) (xfail) (xpass)" in single_spaced(rows)


def test_what_is_not_planned_is_blank_and_columns_stand_in_the_order_of_the_registry(row):
    rows = [row(explainer="a", check="z"), row(explainer="b", check="y"), row("b", "x")]
    ((_, table),) = matrix(rows, ["x", "y", "z"], console=Look().console())
    assert [column.header.plain for column in table.columns] == ["explainer", "x", "y", "z"]
    assert [[cell.plain for cell in column.cells] for column in table.columns] == [
        ["a", "b"],
        ["", "pass"],
        ["", "pass"],
        ["pass", ""],
    ]


@pytest.mark.parametrize("outcomes", [["passed", "failed"], ["failed", "passed"]])
def test_of_several_verdicts_the_failing_one_is_shown(row, outcomes):
    rows = [row(outcome=outcome) for outcome in outcomes]
    assert "ig FAIL" in single_spaced(rows)


def test_one_matrix_per_subject(row):
    text = summary([row(), row() | {"subject": "other"}], Run(), Look())
    assert text.index("net: contract") < text.index("other: contract")
