"""One verdict from many."""

import pytest

from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.engine.exploration.check_budget import Purse
from pytest_xai.engine.exploration.exploration_task import Wanted
from pytest_xai.engine.exploration.merge import merge
from pytest_xai.engine.exploration.one_network import Trial
from pytest_xai.protocol import named
from pytest_xai.registry import find


def mine(model, inputs, targets):
    return inputs


def trial(outcome=None, *, check="finite", refused="", shared=0, **fields):
    if outcome is None:
        return Trial(label="net", refused=refused, shared=Evaluations(forward=shared))
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
    return Trial(label="net", verdicts={check: verdict}, shared=Evaluations(forward=shared))


def merged(*trials, check="finite", budget=1000):
    from pytest_xai import checks

    checks.all()
    wanted = Wanted(
        explainer=named(mine), checks={"finite": find("finite"), check: find(check)}, seed=3
    )
    return merge(check, "networks", trials, wanted, Purse(budget), None)


SILENT = {"reason": "needs a GPU. See there."}


@pytest.mark.parametrize(
    "outcomes, outcome, reason",
    [
        (["passed"], "passed", "Held on 1 of 1 network."),
        (["passed", "undecided"], "passed", "Held on 1 of 2 networks."),
        (["passed", "failed"], "failed", "Bad. Fails on 1 of the 2 networks that it was tried on."),
        (["error", "failed", "failed"], "failed", "Bad. Fails on 2 of the 3 networks that"),
        (["error", "passed"], "error", "Bad. So it is on 1 of the 2 networks that"),
        (["undecided"], "undecided", "None of 1 network decides it."),
        ([], "not_applicable", "Applies to none of 0 networks."),
    ],
)
def test_the_worst_outcome_is_that_of_all(outcomes, outcome, reason):
    verdict = merged(*[trial(each, reason="Bad") for each in outcomes])
    assert (verdict.outcome, verdict.subject) == (outcome, "networks")
    assert verdict.reason.startswith(reason)


def test_what_a_single_network_may_lack_is_enough_somewhere():
    trials = [trial(each, check="target_sensitive", reason="Bad.") for each in ("passed", "failed")]
    assert merged(*trials, check="target_sensitive").outcome == "passed"
    assert merged(trials[1], check="target_sensitive").outcome == "failed"


def test_what_does_not_apply_is_counted_with_the_first_sentence_of_the_reason():
    trials = [trial("not_applicable", **SILENT)] * 2 + [trial("passed")]
    assert merged(*trials).reason == "Held on 1 of 3 networks. 2 left out: needs a GPU."
    everywhere = merged(*trials[:2])
    assert everywhere.outcome == "not_applicable"
    assert everywhere.reason == "Applies to none of 2 networks. 2 left out: needs a GPU."


def test_a_reason_is_the_same_whatever_numbers_are_in_it():
    trials = [trial(refused=f"of 2.{n} and 1e-0{n} more.") for n in range(5)]
    assert merged(*trials, trial("passed")).reason.endswith(" 5 left out: of 2.0 and 1e-00 more.")


def test_the_two_commonest_reasons_are_told():
    trials = [trial(refused=each) for each in "aaabbc"]
    assert merged(*trials, trial("passed")).reason == (
        "Held on 1 of 7 networks. 3 left out: a. 2 left out: b."
    )


def test_who_could_not_pay_says_so_and_has_decided_nothing():
    verdict = merged(trial(), trial(refused="no"), trial("not_applicable", **SILENT), budget=1234)
    assert verdict.outcome == "undecided"
    assert verdict.reason.endswith("The budget of 1,234 evaluations leaves out 1.")
    assert merged(trial("passed"), trial()).outcome == "passed"


def test_costs_add_up_and_the_first_check_pays_for_what_is_shared():
    trials = [trial("passed", shared=10), trial("failed", shared=5), trial(refused="no", shared=7)]
    verdict = merged(*trials)
    assert verdict.evaluations == Evaluations(forward=6 + 22, backward=2, explainer_calls=4)
    assert (verdict.images, verdict.seconds) == (4, 1.0)
    others = [trial("passed", check="shape", shared=10)]
    assert merged(*others, check="shape").evaluations.forward == 3


def test_the_figure_is_the_worst_one():
    figures = [0.5, float("nan"), 7.0, 3.0]
    trials = [trial("failed", figure=figure, limit=1.0, reason="Bad.") for figure in figures]
    assert merged(*trials).figure == 7.0


def test_the_lines_of_an_error_stay_behind_its_summary():
    verdict = merged(trial("error", reason="mine raised\nmany\nlines"))
    assert verdict.reason == (
        "mine raised. So it is on 1 of the 1 network that it was tried on.\nmany\nlines"
    )
