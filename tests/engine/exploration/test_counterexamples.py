"""Defects that libraries have shipped, each in the smallest network that shows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.wrong import hooked
from pytest_xai import check_explainer, checks
from pytest_xai.engine.exploration import generated_networks, on_networks
from pytest_xai.engine.task import Task
from pytest_xai.networks import STRUCTURES
from pytest_xai.protocol import named
from pytest_xai.registry import find

ROOT = Path(__file__).parents[3]
SUM = "summation_to_delta"
DEFECTS = {
    "deep_lift_of_last_calls": ("relu-used-twice", 3),
    "deep_lift_to_the_first": ("max-pool", 2),
    # With one target, two windows need something behind them that adds them up.
    "deep_lift_that_assigns": ("max-pool-overlapping", 3),
}

MARKS = {
    "deep_lift_of_last_calls": pytest.mark.slow,
    "deep_lift_that_assigns": pytest.mark.slow,
}


def ended(snippet, folder):
    """How a process of its own ends that runs a snippet as it is printed."""
    (folder / "shown.py").write_text(snippet, "utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "shown.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


def smallest(verdict):
    """Its snippet, and how many layers the network has."""
    example = verdict.counterexample
    return example["snippet"], int(example["network"].split()[0])


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=MARKS.get(each, ())) for each in DEFECTS]
)
def test_a_defect_is_shown_by_few_layers(name, monkeypatch):
    structure, layers = DEFECTS[name]
    monkeypatch.setattr(generated_networks, "STRUCTURES", {structure: STRUCTURES[structure]})
    checks.all()
    explain = named(getattr(hooked, name))
    task = Task(check=find(SUM), explainer=explain, asserted=True)
    (verdict,) = on_networks([task], networks=0)
    snippet, there = smallest(verdict)
    assert verdict.outcome == "failed"
    assert there <= layers
    assert structure in verdict.counterexample["network"]
    if structure == "relu-used-twice":
        assert snippet.count("x = self.relu1(x)") == 2
        assert "`relu1` runs 2 times per forward" in verdict.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFECTS)
def test_it_is_found_among_all_networks_and_runs_as_printed(name, tmp_path):
    report = check_explainer(getattr(hooked, name), checks=[SUM], on_fail="ignore")
    verdict = next(each for each in report if each.subject == "networks")
    snippet, layers = smallest(verdict)
    assert layers <= DEFECTS[name][1]
    assert f"CheckFailed: {name}::{SUM}: " in ended(snippet, tmp_path)


@pytest.mark.slow
def test_without_a_defect_none_is_found():
    report = check_explainer(hooked.deep_lift, checks=[SUM])
    assert {verdict.outcome for verdict in report} == {"passed"}


@pytest.mark.slow
def test_every_snippet_of_the_gallery_runs_as_printed(tmp_path):
    report = check_explainer("control:InputItself", checks=["contract"], on_fail="ignore")
    shown = [each for each in report if each.counterexample and "snippet" in each.counterexample]
    assert shown
    for verdict in shown:
        assert "CheckFailed" in ended(verdict.counterexample["snippet"], tmp_path)


@pytest.mark.slow
def test_a_right_explainer_of_many_passes_stays_within_the_budget():
    report = check_explainer("captum:IntegratedGradients", on_fail="ignore")
    assert sum(each.evaluations.model for each in report) <= report.run.budget
    assert {each.outcome for each in report if each.asserted} <= {"passed", "not_applicable"}
