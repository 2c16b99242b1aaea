"""``--xai-budget``: never exceeded, shown, and of no effect but to leave verdicts undecided."""

import json

import jsonschema
import pytest

from tests.plugin.test_report import SCHEMA

SELECT = "--xai-select=shape,deterministic,mprt_cascading,fgsm_dice,random_logit"
ITERATING = f"{SELECT},deepfool_dice,continuity"
# Undecided are those that ran out, decided are others.
BUDGET = 2_000
REVERSED = """
    def pytest_collection_modifyitems(items):
        items.reverse()
"""


def spent(row):
    return row["evaluations"]["forward"] + row["evaluations"]["backward"]


def outcomes(payload):
    return {
        (row["explainer"], row["check"]): (row["outcome"], row["images"], row["reason"])
        for row in payload["results"]
    }


def balanced(payload, budget):
    """Whether all sums of a report are right, and nothing exceeds anything."""
    jsonschema.validate(payload, SCHEMA)
    run, total = payload["run"], sum(map(spent, payload["results"]))
    assert (run["budget"], run["spent"], run["left"]) == (budget, total, budget - total)
    assert total <= sum(run["shares"].values()) <= budget
    for row in payload["results"]:
        share = run["shares"][f"xai::net::{row['explainer']}::{row['check']}"]
        assert spent(row) <= share
        if row["reason"].startswith("The budget of"):
            assert row["outcome"] == "undecided"
            assert row["reason"].startswith(f"The budget of {share} evaluations is too small")
    return run["shares"]


def test_spent_and_left_are_right_and_verdicts_are_the_same_in_any_order(
    repo, report, add_to_conftest
):
    """The maps of an explainer are made by the check that comes first, and owed by all."""
    arguments = (SELECT, f"--xai-budget={BUDGET}")
    first = report(*arguments)
    found = {outcome for outcome, _, _ in outcomes(first).values()}
    assert {"undecided", "passed"} <= found
    shares = balanced(first, BUDGET)
    assert len(shares) == 10
    alone = report(*arguments, "-k", "random_logit and second")
    assert balanced(alone, BUDGET) == shares
    assert outcomes(alone).items() <= outcomes(first).items()
    add_to_conftest(REVERSED)
    backwards = report(*arguments)
    assert balanced(backwards, BUDGET) == shares
    assert outcomes(backwards) == outcomes(first)


@pytest.mark.slow
def test_the_sums_are_right_on_two_workers_and_of_checks_that_iterate(repo, report):
    arguments = (ITERATING, "--xai-budget=12_000")
    alone, together = report(*arguments), report(*arguments, "-n", "2")
    assert balanced(together, 12_000) == balanced(alone, 12_000)
    assert outcomes(together) == outcomes(alone)


def test_the_terminal_says_what_is_spent_and_left(repo):
    result = repo.runpytest(
        "--xai", SELECT, "--xai-budget=12_000", "--xai-json=r.json", "-k", "shape"
    )
    run = json.loads((repo.path / "r.json").read_text())["run"]
    assert run["spent"] + run["left"] == 12_000
    assert run["spent"] > 0
    result.stdout.fnmatch_lines([f"budget 12,000: {run['spent']:,} spent, {run['left']:,} left"])


@pytest.mark.parametrize("budget", [1, 700])
def test_a_budget_below_one_round_of_anything_leaves_all_undecided(repo, report, budget):
    payload = report(ITERATING, f"--xai-budget={budget}")
    balanced(payload, budget)
    assert payload["run"]["spent"] == 0
    assert {row["outcome"] for row in payload["results"]} == {"undecided"}
    assert all(
        "0 evaluations were spent on 0 images" in row["reason"] for row in payload["results"]
    )


def test_enough_is_as_good_as_no_bound(repo, report, comparable):
    select = "--xai-select=shape,fgsm_dice"
    free, bound = report(select), report(select, "--xai-budget=100_000_000")
    balanced(bound, 100_000_000)
    bare = {"budget", "left", "shares"}
    for payload in (free, bound):
        comparable(payload)
        for row in payload["results"]:
            del row["reproduce"]
        payload["run"] = {k: v for k, v in payload["run"].items() if k not in bare}
    assert free == bound
