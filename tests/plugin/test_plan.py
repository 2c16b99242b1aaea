"""The plan: how alpha and budget are shared, and the commands that repeat a task."""

import re
from pathlib import Path

import pytest

from pytest_xai.core.run import Run
from pytest_xai.errors import UnknownName
from pytest_xai.plugin.model_repo import ModelRepo
from pytest_xai.plugin.options import Options, reproduce_command
from pytest_xai.plugin.plan import choose, plan_tasks


def explain(model, inputs, targets):
    return inputs


@pytest.fixture
def repo():
    repo = ModelRepo()
    for subject in ("s", "t"):
        repo.subject(subject, explain)
    for explainer in ("e", "f", "g"):
        repo.explainer(explainer, explain)
    return repo


def plan(repo, **run):
    return plan_tasks(repo, Options(run=Run(**run)))


def test_alpha_is_shared_by_the_asserted_sampled_tasks_of_the_plan(repo):
    tasks = plan(repo, alpha=0.06)
    sampled = sum(task.check.judged != "exact" and task.asserted for task in tasks)
    assert sampled >= 6
    assert {task.alpha for task in tasks} == {0.06 / sampled}


def test_the_budget_is_shared_by_declared_cost(repo):
    tasks = plan(repo, budget=1_000_000)
    weights = [task.check.cost.least for task in tasks]
    shares = [task.budget for task in tasks]
    assert sum(shares) <= 1_000_000
    for share, weight in zip(shares, weights, strict=True):
        assert share == pytest.approx(1_000_000 * weight / sum(weights), abs=1)


def test_without_a_budget_there_is_no_limit(repo):
    assert {task.budget for task in plan(repo)} == {None}


def test_tasks_stand_by_subject_explainer_and_check(repo):
    assert [task.id for task in plan(repo, select=("shape", "finite"))] == [
        f"xai::{subject}::{explainer}::{check}"
        for subject in "st"
        for explainer in "efg"
        for check in ("finite", "shape")
    ]


def test_a_task_is_repeated_by_its_command_and_knows_why_it_may_fail(repo):
    repo.expect_failure("f", "shape", "known", subject="t")
    tasks = {task.id: task for task in plan(repo, select=("shape",), seed=4)}
    task = tasks["xai::t::f::shape"]
    assert task.reproduce == "pytest --xai 'xai::t::f::shape' --xai-seed 4"
    assert (task.expected, tasks["xai::s::f::shape"].expected) == ("known", None)


def test_what_is_selected_by_name_but_not_claimed_is_measured(repo):
    (task, *_) = plan(repo, select=("linearity",))
    assert not task.asserted


@pytest.mark.parametrize(
    "ids, count",
    [
        ([], 12),
        (["xai::"], 12),
        (["xai::s"], 6),
        (["xai::s::"], 6),
        (["xai::s::e", "xai::s"], 6),
        (["xai::t::f::shape", "xai::s::e::shape"], 2),
    ],
)
def test_ids_are_matched_part_by_part(repo, ids, count):
    tasks = plan(repo, select=("shape", "finite"))
    chosen = choose(tasks, ids)
    assert len(chosen) == count
    assert chosen == [task for task in tasks if task in chosen]


@pytest.mark.parametrize(
    "given, message",
    [
        ("xai::S", "xai::S: unknown subject 'S'. Known: s, t"),
        ("xai::s::ee", "xai::s::ee: unknown explainer 'ee'. Did you mean 'e'? Known: e, f, g"),
        ("xai::s::e::shap", "unknown check 'shap'. Did you mean 'shape'? Known: finite, shape"),
        ("xai::s::e::shape::x", "xai::s::e::shape::x: unknown part 'x'. Known: none"),
    ],
)
def test_an_id_that_matches_nothing_is_refused(repo, given, message):
    tasks = plan(repo, select=("shape", "finite"))
    with pytest.raises(UnknownName, match=re.escape(message)):
        choose(tasks, ["xai::s", given])


@pytest.mark.parametrize(
    "options, command",
    [
        (Options(), "pytest --xai 'xai::s::e::c' --xai-seed 0"),
        (
            Options(run=Run(seed=3, alpha=0.01, budget=500, device="cuda:0")),
            (
                "pytest --xai 'xai::s::e::c' --xai-seed 3 --xai-alpha 0.01 --xai-budget 500 "
                "--xai-device cuda:0"
            ),
        ),
        (Options(run=Run(demo=True)), "pytest --xai 'xai::s::e::c' --xai-seed 0 --xai-demo"),
        (
            Options(
                run=Run(select=("a", "b"), ignore=("c",)),
                given=frozenset({"select", "ignore"}),
            ),
            "pytest --xai 'xai::s::e::c' --xai-seed 0 --xai-select a,b --xai-ignore c",
        ),
        (Options(run=Run(select=("a",))), "pytest --xai 'xai::s::e::c' --xai-seed 0"),
        (
            Options(run=Run(undecided="fail"), files={"json": Path("x")}),
            "pytest --xai 'xai::s::e::c' --xai-seed 0",
        ),
    ],
)
def test_the_command_says_what_is_not_default(options, command):
    assert reproduce_command("xai::s::e::c", options) == command


def test_the_command_is_quoted_for_the_shell():
    command = reproduce_command("test_a.py::test_b[x y]", Options(), gate=False)
    assert command == "pytest 'test_a.py::test_b[x y]' --xai-seed 0"
