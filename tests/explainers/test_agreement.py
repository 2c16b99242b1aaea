"""Where two libraries have one method, their maps agree as far as the table in the docs says."""

import re
from pathlib import Path

import pytest

from studies.agreement import PAIRS, compare

PAGE = Path(__file__).parents[2] / "docs" / "evidence" / "agreement.md"


# Those that sample thousands of masks.
SLOW = {"captum:Lime", "captum:KernelShap"}


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(
            pair,
            marks=[pytest.mark.slow] if pair.first in SLOW else [],
            id=f"{pair.first}-{pair.second}-{pair.scene}",
        )
        for pair in PAIRS
    ],
)
def test_libraries_agree(pair):
    difference, correlation = compare(pair)
    if pair.difference is not None:
        assert difference <= pair.difference
    assert correlation >= pair.correlation


def test_the_page_has_the_row_of_every_pair():
    row = re.compile(r"^\| (.+), (\w+) \| `(.+?)` `(.+?)` \|", re.MULTILINE)
    rows = row.findall(PAGE.read_text("utf-8"))
    assert rows == [(pair.method, pair.scene, pair.first, pair.second) for pair in PAIRS]


def test_a_pair_that_is_not_held_to_a_difference_says_why():
    assert all(pair.why for pair in PAIRS if pair.difference is None)
