"""Every wrong explainer is caught by a check asserted for its claims, or a reason is given.

The page says which; a few of its rows are made anew in every run, all of them in the slow ones.
"""

from pathlib import Path

import pytest

from fixtures.wrong.shipped import RIGHT, SHIPPED
from pytest_xai import checks
from studies.who_catches_whom import cases, caught, missed, rights, rows_of, tables

PAGE = Path(__file__).parents[1] / "docs" / "evidence" / "who-catches-whom.md"
CASES, RIGHTS = cases(), rights()
ROWS = rows_of(PAGE.read_text("utf-8"))
FEW = (
    "saliency without the absolute value",
    "LRP-0 with overlapping max-pools that assign",
    "Grad-CAM with weights averaged over the batch",
    "RISE with the hidden places scored",
    "leaves train mode",
)
FEW_RIGHT = ("saliency", "LRP-0", "Grad-CAM")


def holds_to_the_page(name):
    """Caught where the page says so, and by one at least of the checks that it names."""
    found = caught(CASES[name])
    named, none = ROWS[name]
    assert missed(found) is none
    assert none or named & {check for each in found.values() for check in each}


# ---------------------------------------------------------------------------------------- the table


def test_the_page_has_a_row_for_each():
    assert list(ROWS) == list(CASES)


def test_every_row_names_checks_or_says_why_there_are_none():
    for name, (named, none) in ROWS.items():
        assert none is bool(CASES[name].uncaught)
        assert none is not bool(named)
        assert named <= set(checks.names())


def test_the_page_counts_them():
    uncaught = sum(none for _, none in ROWS.values())
    head = f"{len(CASES) - uncaught} of {len(CASES)} wrong explainers are caught."
    assert head in PAGE.read_text("utf-8")


def test_there_are_sixty_with_the_claims_of_their_right_versions():
    assert len(SHIPPED) >= 60
    for name, wrong in SHIPPED.items():
        own, right = CASES[name].explainer.traits, RIGHTS[wrong.right].explainer.traits
        assert (
            (own.claims, own.sign) == (right.claims, right.sign)
            or "declared" in name
            or (
                # The size of epsilon, for which fewer promises are made.
                own.method == "lrp_epsilon_other"
            )
        )


def test_each_right_version_has_a_wrong_one():
    assert {wrong.right for wrong in SHIPPED.values()} == set(RIGHT)


def test_the_tables_say_what_was_found():
    first, second = "saliency squared", "leaves train mode"
    uncaught = "RISE with the hidden places scored"
    nothing = {"digits": (), "probes": (), "networks": (), "own subject": ()}
    made = tables(
        {
            first: {**nothing, "probes": ("ground_truth",)},
            uncaught: nothing,
            second: {**nothing, "digits": ("side_effects",), "own subject": ("side_effects",)},
        }
    )
    assert made.startswith("2 of 3 wrong explainers are caught.")
    assert "| `side_effects` | 1 | 1 |" in made
    assert f"| {first} |  | `ground_truth` |  |" in made
    assert f"| {second} | `side_effects` | `side_effects` |" in made
    assert rows_of(made) == {
        first: (frozenset({"ground_truth"}), False),
        uncaught: (frozenset(), True),
        second: (frozenset({"side_effects"}), False),
    }


# --------------------------------------------------------------------------------------- explainers


@pytest.mark.parametrize("name", FEW)
def test_a_row_is_what_the_checks_say(name):
    holds_to_the_page(name)


@pytest.mark.parametrize("name", FEW_RIGHT)
def test_a_right_explainer_is_not_caught(name):
    assert missed(caught(RIGHTS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in FEW])
def test_every_row_is_what_the_checks_say(name):
    holds_to_the_page(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RIGHTS if name not in FEW_RIGHT])
def test_no_right_explainer_is_caught(name):
    assert missed(caught(RIGHTS[name]))
