"""One verdict from many."""

import pytest

from pytest_xai import checks
from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.engine.exploration.merge import merge
from pytest_xai.engine.exploration.one_network import NetworkResult
from pytest_xai.engine.task import Task
from pytest_xai.protocol import named


def mine(model, inputs, targets):
    return inputs


def result(outcome=None, *, check="finite", refused="", shared=0, **fields):
    if outcome is None:
        return NetworkResult(label="net", refused=refused, shared=Evaluations(forward=shared))
    verdict = Verdict(
        subject="net",
        explainer="mine",
        check=check,
        family="contract",
        asserted=True,
        direction="<=",
        outcome=outcome,
        images=2,
        seconds=0.5,
        evaluations=Evaluations(forward=3, backward=1, explainer_calls=2),
        **fields,
    )
    return NetworkResult(label="net", verdicts={check: verdict}, shared=Evaluations(forward=shared))


def merged(*results, check="finite", budget=1000, payer=True):
    task = Task(
        check=checks.get(check),
        explainer=named(mine),
        asserted=True,
        budget=budget,
        reproduce="again",
    )
    verdict = merge(task, "networks", results, payer=payer)
    assert verdict.reproduce == "again"
    return verdict


SILENT = {"summary": "needs a GPU. See there."}


@pytest.mark.parametrize(
    "outcomes, outcome, reason",
    [
        (["passed"], "passed", "The check passes on 1 of 1 network."),
        (["passed", "undecided"], "passed", "The check passes on 1 of 2 networks."),
        (
            ["passed", "failed"],
            "failed",
            "Bad. The check fails on 1 of 2 networks that it was tried on.",
        ),
        (["error", "failed", "failed"], "failed", "Bad. The check fails on 2 of 3 networks that"),
        (["error", "passed"], "error", "Bad. The same outcome occurred on 1 of 2 networks that"),
        (["undecided"], "undecided", "The check is decided on none of 1 network."),
        ([], "not_applicable", "The check applies to none of 0 networks."),
    ],
)
def test_the_worst_outcome_is_that_of_all(outcomes, outcome, reason):
    verdict = merged(*[result(each, summary="Bad") for each in outcomes])
    assert (verdict.outcome, verdict.subject) == (outcome, "networks")
    assert verdict.reason.startswith(reason)


def test_the_cause_of_a_failure_stays_and_a_pass_has_none():
    failed = result("failed", cause="It jumps.", notes=("Noted.",))
    verdict = merged(failed, result("passed", notes=("Not kept.",)))
    assert (verdict.summary, verdict.cause, verdict.notes[0]) == ("", "It jumps.", "Noted.")
    assert merged(result("passed", notes=("Not kept.",))).notes == ()


def test_what_a_single_network_may_lack_is_enough_on_one():
    results = [result(each, check="target_sensitive") for each in ("passed", "failed")]
    assert merged(*results, check="target_sensitive").outcome == "passed"
    assert merged(results[1], check="target_sensitive").outcome == "failed"


def test_what_does_not_apply_is_counted_with_the_first_sentence_of_the_reason():
    results = [result("not_applicable", **SILENT)] * 2 + [result("passed")]
    assert merged(*results).reason == (
        "The check passes on 1 of 3 networks. 2 networks left out: needs a GPU."
    )
    everywhere = merged(*results[:2])
    assert everywhere.outcome == "not_applicable"
    assert everywhere.reason == (
        "The check applies to none of 2 networks. 2 networks left out: needs a GPU."
    )


def test_a_reason_is_the_same_whatever_numbers_are_in_it():
    results = [result(refused=f"of 2.{n} and 1e-0{n} more.") for n in range(5)]
    reason = merged(*results, result("passed")).reason
    assert reason.endswith(" 5 networks left out: of 2.0 and 1e-00 more.")


def test_the_two_commonest_reasons_are_given():
    results = [result(refused=each) for each in "aaabbc"]
    assert merged(*results, result("passed")).notes == (
        "3 networks left out: a.",
        "2 networks left out: b.",
    )


def test_a_budget_that_is_too_small_is_said_and_has_decided_nothing():
    verdict = merged(
        result(), result(refused="no"), result("not_applicable", **SILENT), budget=1234
    )
    assert verdict.outcome == "undecided"
    assert verdict.notes[-1] == "The budget of 1,234 evaluations is too small for 1 network."
    assert merged(result("passed"), result()).outcome == "passed"


def test_costs_add_up_and_one_check_pays_for_what_is_shared():
    results = [
        result("passed", shared=10),
        result("failed", shared=5),
        result(refused="no", shared=7),
    ]
    verdict = merged(*results)
    assert verdict.evaluations == Evaluations(forward=6 + 22, backward=2, explainer_calls=4)
    assert (verdict.images, verdict.seconds) == (4, 1.0)
    others = [result("passed", check="shape", shared=10)]
    assert merged(*others, check="shape", payer=False).evaluations.forward == 3


def test_the_figure_is_the_worst_one():
    figures = [0.5, float("nan"), 7.0, 3.0]
    results = [result("failed", figure=figure, limit=1.0, cause="Bad.") for figure in figures]
    assert merged(*results).figure == 7.0


def test_the_lines_of_an_error_stay_after_its_first_one():
    verdict = merged(result("error", summary="mine raised\nmany\nlines"))
    assert verdict.reason == (
        "mine raised. The same outcome occurred on 1 of 1 network that it was tried on."
        "\nmany\nlines"
    )
