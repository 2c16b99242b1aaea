"""What the papers report comes out, and the page about it is what a run says."""

import re
from pathlib import Path

import pytest

from studies.published_outcomes import (
    CHECKS,
    DIFFERENCES,
    METHODS,
    agreement,
    measured,
    reasons,
    verdict_of,
)

EVIDENCE = Path(__file__).parents[3] / "docs" / "evidence"
PAGE = (EVIDENCE / "published-outcomes.md").read_text("utf-8")
PLACES = [(subject, check) for subject, checks in CHECKS.items() for check in checks]
# Others may add in another order: a rank or two of a map changes.
ROUNDING = 0.03

QUICK = [
    ("gradient", "digits", "mprt_cascading"),
    ("guided backpropagation", "digits", "mprt_cascading"),
    ("LRP-alpha1-beta0", "digits", "mprt_cascading"),
    ("LRP-alpha1-beta0", "digits", "random_logit"),
    ("LRP-0", "digits", "random_logit"),
    ("constant map", "digits", "data_randomisation"),
]
ALL = [(method.name, *place) for place in PLACES for method in METHODS]


def rows(subject, check):
    """Cells of the page's table by the name of the method."""
    _, _, section = PAGE.partition(f"## {check}, {subject}\n")
    section = section.partition("\n## ")[0].partition("<!-- end")[0]
    found = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)[2:]
    return {cells[0]: cells[1:] for cells in (line.split(" | ") for line in found)}


def published(name, check):
    return next(each for each in METHODS if each.name == name).published.get(check)


@pytest.mark.parametrize("subject, check", PLACES)
def test_the_page_has_a_row_for_every_method(subject, check):
    assert list(rows(subject, check)) == [method.name for method in METHODS]
    for name, cells in rows(subject, check).items():
        reported = published(name, check)
        assert cells[5].strip() == (reported or "")
        assert cells[6].strip() == agreement(reported, cells[4])


@pytest.mark.parametrize("subject, check", PLACES)
def test_every_difference_is_explained_and_nothing_else(subject, check):
    different = [name for name, cells in rows(subject, check).items() if cells[6].strip() == "no"]
    explained = [
        name
        for each in DIFFERENCES
        if (each.subject, each.check) == (subject, check)
        for name in each.methods
    ]
    assert sorted(explained) == sorted(different)
    _, _, section = PAGE.partition(f"## {check}, {subject}\n")
    section = section.partition("\n## ")[0]
    assert all(f"\n- {name}: " in section for name in different)


def test_the_published_outcomes_come_out_on_the_digits():
    """But for the differences that the page explains, which are few."""
    cells = [
        (name, row) for check in CHECKS["digits"] for name, row in rows("digits", check).items()
    ]
    reported = [row[6].strip() for _, row in cells if row[6].strip()]
    assert reported.count("yes") >= 0.85 * len(reported)
    for check in ("mprt_cascading", "random_logit"):
        for name in ("LRP-alpha1-beta0", "LRP-z-plus", "DTD", "guided backpropagation"):
            assert rows("digits", check)[name][4] == "failed"


def held(name, subject, check):
    verdict, cells = verdict_of(name, subject, check), rows(subject, check)[name]
    assert verdict.outcome == cells[4]
    assert verdict.figure == pytest.approx(float(cells[0]), abs=ROUNDING)
    assert verdict.limit == pytest.approx(float(cells[1]), abs=ROUNDING)


@pytest.mark.parametrize("name, subject, check", QUICK)
def test_a_row_is_what_a_run_says(name, subject, check):
    held(name, subject, check)


@pytest.mark.slow
@pytest.mark.parametrize("name, subject, check", ALL)
def test_every_row_is_what_a_run_says(name, subject, check):
    held(name, subject, check)


@pytest.mark.slow
@pytest.mark.parametrize("subject, check", PLACES)
def test_the_reasons_have_what_was_measured(subject, check):
    for line in reasons(subject, check):
        name, _, why = line.removeprefix("- ").partition(": ")
        facts = measured(verdict_of(name, subject, check))
        assert facts["figure"] in why


def test_what_was_measured_is_read_from_the_verdict():
    facts = measured(verdict_of("guided backpropagation", "digits", "mprt_cascading"))
    assert set(facts) >= {"figure", "limit", "unrelated_maps", "after_head", "gradients"}
    assert float(facts["after_head"]) > 0.9
