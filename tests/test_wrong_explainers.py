"""Every wrong explainer is caught by a check asserted for its claims, or a reason is given.

The page says which. Rows of the page must agree with the fixtures and, for a few of them, with what
the checks find in every run; all of them are compared in the slow tests. An explainer that is not
yet on the page fails a slow test only.
"""

from pathlib import Path

import pytest

import studies.who_catches_whom as study
from fixtures.wrong.shipped import RIGHT, SHIPPED
from pytest_xai import checks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "evidence" / "who-catches-whom.md"
TEXT = PAGE.read_text("utf-8")
AGAIN = f"make the page again: python -m {study.__name__} --write {PAGE.relative_to(ROOT)}"
CASES, RIGHTS = study.cases(), study.rights()
ROWS = study.rows_of(TEXT)
# The page is made on a machine without a GPU.
ONLY_WITH_A_GPU = {check.name for check in checks.all() if "gpu" in check.marks}
FEW = (
    "LRP-0 with overlapping max-pools that assign",
    "Grad-CAM with weights averaged over the batch",
    "RISE with the hidden places scored",
    "leaves train mode",
)
FEW_RIGHT = ("saliency", "Grad-CAM")


def holds_to_the_page(name):
    """Caught where the page says so, and by one at least of the checks that it names."""
    found = study.caught(CASES[name])
    named, none = ROWS[name]
    assert study.missed(found) is none, AGAIN
    assert none or named & {check for each in found.values() for check in each}, AGAIN


def names_on(page):
    """The first cells of all tables of wrong explainers on a page, in its order."""
    names, inside = [], False
    for line in page.splitlines():
        cell = line.removeprefix("| ").partition(" | ")[0]
        if not line.startswith("|"):
            inside = False
        elif cell == "wrong explainer":
            inside = True
        elif inside and not line.startswith("| ---"):
            names.append(cell)
    return names


def wrong_in(name):
    """What a row of the page says that the fixtures do not, in words."""
    if name not in CASES:
        return ["there is no such explainer"]
    (named, none), case = ROWS[name], CASES[name]
    rules = {
        "it says that no check catches it": none is bool(case.uncaught),
        "it names no check, or gives a reason beside one": none is not bool(named),
        "it names a check that does not exist": named <= set(checks.names()),
        f"it does not name {case.check}": case.check in {"", *ONLY_WITH_A_GPU} | named,
    }
    return [rule for rule, holds in rules.items() if not holds]


# ---------------------------------------------------------------------------------------- the table


def test_every_row_agrees_with_the_fixtures():
    names = names_on(TEXT)
    assert len(names) > 300
    assert len(names) == len(set(names)), AGAIN
    assert {name: wrong for name in names if (wrong := wrong_in(name))} == {}, AGAIN


def test_the_page_counts_its_rows():
    uncaught = sum(none for _, none in ROWS.values())
    head = f"{len(ROWS) - uncaught} of {len(ROWS)} wrong explainers are caught."
    assert head in TEXT, AGAIN


@pytest.mark.slow
def test_the_page_has_a_row_for_each():
    assert sorted(names_on(TEXT)) == sorted(CASES), AGAIN


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
    made = study.tables(
        {
            first: {**nothing, "probes": ("ground_truth",)},
            uncaught: nothing,
            second: {**nothing, "digits": ("side_effects",), "own subject": ("side_effects",)},
        }
    )
    assert names_on(made) == [first, uncaught, second]
    assert made.startswith("2 of 3 wrong explainers are caught.")
    assert "| `side_effects` | 1 | 1 |" in made
    assert f"| {first} |  | `ground_truth` |  |" in made
    assert f"| {second} | `side_effects` | `side_effects` |" in made
    assert study.rows_of(made) == {
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
    assert study.missed(study.caught(RIGHTS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ROWS if name not in FEW])
def test_every_row_is_what_the_checks_say(name):
    holds_to_the_page(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RIGHTS if name not in FEW_RIGHT])
def test_no_right_explainer_is_caught(name):
    assert study.missed(study.caught(RIGHTS[name]))
