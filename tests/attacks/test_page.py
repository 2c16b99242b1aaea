"""The page on attacks has all of them, and figures that a run gives."""

import inspect
import re
from pathlib import Path

import pytest

from pytest_xai import attacks
from studies.attacks import ROWS, compared, ours, share_of_deepfool

PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "attacks.md").read_text("utf-8")
MADE = PAGE.partition("<!-- table -->")[2].partition("<!-- end of table -->")[0]
ATTACKS = {
    name
    for name in attacks.__all__
    if inspect.isfunction(getattr(attacks, name)) and name != "before_the_boundary"
}


def cells_of(name):
    rows = [[cell.strip() for cell in line.split("|")] for line in MADE.splitlines()]
    [row] = [row for row in rows if len(row) > 2 and row[1].partition(" (")[0] == name]
    return row


def test_the_page_explains_every_attack():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == ATTACKS


def test_every_attack_is_compared_and_every_difference_explained():
    assert {name.partition(",")[0] for name in ROWS} == ATTACKS
    for name, row in ROWS.items():
        assert cells_of(name)[6] == "{} `{}`".format(*row.name.split(" ", 1))
        assert f"\n- {name}: {row.why}.\n" in MADE


@pytest.mark.parametrize("name", ["fgsm", "ifgsm", "pgd", "pgd, L2", "deepfool", "jsma"])
def test_the_figures_are_those_of_a_run(name):
    result, _ = ours(ROWS[name])
    success, norm, paid = cells_of(name)[3:6]
    assert float(success) == pytest.approx(result.success, abs=0.02)
    assert float(norm) == pytest.approx(result.norm, rel=0.02)
    assert paid == f"{result.forward:.0f} + {result.backward:.0f}"


@pytest.mark.slow
def test_deepfool_costs_at_most_half_more_than_its_steps_need():
    for name in ("deepfool", "deepfool, Linf"):
        share = share_of_deepfool(name)
        assert 1 < share <= 1.5
        assert f"are {share:.2f} times" in MADE


def test_deepfool_in_the_maximum_norm_is_foolbox_s():
    _, mine, theirs = compared(ROWS["deepfool, Linf"])
    assert mine.success == theirs.success
    assert mine.norm == pytest.approx(theirs.norm, rel=1e-5)
    assert mine.forward + mine.backward < 0.5 * (theirs.forward + theirs.backward)
