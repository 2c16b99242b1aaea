"""`check_explainer(mine)`: digits, probes and generated networks."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from fixtures.right import gradient
from pytest_xai import CheckFailed, check_explainer, explainer, reporting
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers import from_maps

PLACES = ["digits", "probes", "networks"]


def outcomes(report):
    return {(verdict.check, verdict.subject): verdict.outcome for verdict in report}


def fixed(nan_behind_pools):
    return check_explainer(nan_behind_pools, checks=["finite", "shape"], on_fail="ignore")


@pytest.mark.usefixtures("small")
def test_every_exact_check_runs_in_all_places_and_sampled_ones_on_the_digits():
    report = check_explainer(gradient, checks=["shape", "finite", "random_logit", "ground_truth"])
    assert list(outcomes(report)) == [
        *(("finite", place) for place in PLACES),
        *(("shape", place) for place in PLACES),
        ("ground_truth", "probes"),
        ("random_logit", "digits"),
    ]
    assert {report[0].outcome, report[2].outcome} == {"passed"}


@pytest.mark.usefixtures("small")
def test_a_selection_that_leaves_nothing_for_the_collections_is_of_the_digits():
    assert list(outcomes(check_explainer(gradient, checks=["random_logit"]))) == [
        ("random_logit", "digits")
    ]


@pytest.mark.usefixtures("small")
def test_what_is_not_claimed_is_measured_on_the_digits_alone():
    report = check_explainer(gradient, checks=["linearity"])
    assert [(each.subject, each.asserted) for each in report] == [("digits", False)]


@pytest.mark.usefixtures("small")
def test_the_message_has_the_snippet(nan_behind_pools):
    with pytest.raises(CheckFailed) as caught:
        check_explainer(nan_behind_pools, checks=["finite", "shape"])
    text = str(caught.value)
    assert "explain::finite: " in text
    assert "\nSmallest network: 2 layers on inputs of 1x" in text
    assert "\n    import torch\n    from torch import nn\n" in text
    assert text.endswith('\n    xai.check_explainer(explainer, subject, checks=["finite"])')
    with pytest.warns(UserWarning, match="Smallest network: 2 layers"):
        check_explainer(nan_behind_pools, checks=["finite"], on_fail="warn")


@pytest.mark.usefixtures("small")
def test_rows_are_those_of_the_schema(nan_behind_pools):
    payload = json.loads(fixed(nan_behind_pools).to_json())
    schema = json.loads(Path(reporting.__file__).with_name("schema.json").read_text("utf-8"))
    jsonschema.validate(payload, schema)
    (row,) = [row for row in payload["results"] if row["counterexample"]][-1:]
    assert row["subject"] == "networks"
    assert row["counterexample"]["snippet"].startswith("import torch\n")
    assert payload["run"]["budget"] == 8_000_000


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("budget", [None, 3000])
def test_every_verdict_is_repeated_by_the_call_that_it_names(nan_behind_pools, budget):
    report = check_explainer(
        nan_behind_pools, checks=["finite", "shape"], on_fail="ignore", budget=budget
    )
    assert {verdict.outcome for verdict in report} >= {"passed", "failed"}
    for verdict in report:
        call = verdict.reproduce.replace(")", ', on_fail="ignore")')
        again = eval(call, {"check_explainer": check_explainer, "explain": nan_behind_pools})  # noqa: S307
        (repeated,) = [each for each in again if each.subject == verdict.subject]
        for name in ("outcome", "reason", "figure", "counterexample", "reproduce"):
            assert getattr(repeated, name) == getattr(verdict, name), (verdict.subject, name)


@pytest.mark.usefixtures("small")
def test_an_expected_failure_has_to_fail_somewhere(nan_behind_pools):
    expecting = {"checks": ["finite", "shape"], "on_fail": "ignore"}
    report = check_explainer(nan_behind_pools, expected_failures={"finite": "known"}, **expecting)
    assert report.failed == []
    assert outcomes(report)["finite", "networks"] == "xfailed"
    assert outcomes(report)["finite", "probes"] == "passed"
    report = check_explainer(gradient, expected_failures={"finite": "known"}, **expecting)
    assert {verdict.outcome for verdict in report.failed} == {"xpassed"}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("budget", [0, 1000])
def test_no_more_is_spent_than_allowed(budget):
    report = check_explainer(gradient, checks=["contract"], budget=budget, on_fail="ignore")
    assert sum(verdict.evaluations.model for verdict in report) <= budget
    if not budget:
        assert {verdict.outcome for verdict in report} == {"undecided"}


@pytest.mark.parametrize("budget", [-1, 1.5, "many", True])
def test_what_is_no_budget_is_refused(budget):
    with pytest.raises(InvalidArgument, match="budget: got .*, expected a number of evaluations"):
        check_explainer(gradient, checks=["shape"], budget=budget)


@pytest.mark.usefixtures("small")
def test_stored_maps_are_of_their_own_subject_and_say_nothing_of_others(small):
    from pytest_xai import subjects

    maps = from_maps(subjects.load_digits().inputs)
    report = check_explainer(maps, checks=["shape"])
    assert outcomes(report) == {
        ("shape", "digits"): "passed",
        ("shape", "probes"): "not_applicable",
        ("shape", "networks"): "not_applicable",
    }


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_who_is_class_agnostic_is_not_asked_for_another_map():
    @explainer(class_agnostic=True)
    def size(model, inputs, targets):
        return inputs.abs()

    report = check_explainer(size, checks=["target_sensitive"])
    assert {verdict.outcome for verdict in report} == {"not_applicable"}


@pytest.mark.slow
def test_pytest_need_not_be_there():
    code = (
        "import sys\n"
        "from pytest_xai import check_explainer\n"
        "from pytest_xai.engine.exploration import generated_networks\n"
        "generated_networks.NETWORKS = 1\n"
        "generated_networks.STRUCTURES = {}\n"
        "report = check_explainer('captum:Saliency', checks=['shape'])\n"
        "print(report, 'pytest' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.endswith(" False\n")
    assert done.stdout.count("passed") == 3
