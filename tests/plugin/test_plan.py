"""The plan: how alpha and budget are shared, and the commands that repeat a case."""

import re
from pathlib import Path

import pytest

from pytest_xai.errors import UnknownName
from pytest_xai.plugin.model_repo import Registry
from pytest_xai.plugin.options import Options, reproduce_command
from pytest_xai.plugin.plan import choose, plan_cases


def explain(model, inputs, targets):
    return inputs


@pytest.fixture
def registry():
    registry = Registry()
    for subject in ("s", "t"):
        registry.subject(subject, explain)
    for explainer in ("e", "f", "g"):
        registry.explainer(explainer, explain)
    return registry


def test_alpha_is_shared_by_the_asserted_sampled_cases_of_the_plan(registry):
    cases = plan_cases(registry, Options(alpha=0.06))
    sampled = sum(
        case.assignment.check.judged != "exact" and case.assignment.asserted for case in cases
    )
    assert sampled >= 6
    assert {case.assignment.alpha for case in cases} == {0.06 / sampled}


def test_the_budget_is_shared_by_declared_cost(registry):
    cases = plan_cases(registry, Options(budget=1_000_000))
    weights = [case.assignment.check.cost.least for case in cases]
    shares = [case.assignment.budget for case in cases]
    assert sum(shares) <= 1_000_000
    for share, weight in zip(shares, weights, strict=True):
        assert share == pytest.approx(1_000_000 * weight / sum(weights), abs=1)


def test_without_a_budget_there_is_no_bound(registry):
    assert {case.assignment.budget for case in plan_cases(registry, Options())} == {None}


def test_cases_stand_by_subject_explainer_and_check(registry):
    cases = plan_cases(registry, Options(select=("shape", "finite")))
    assert [case.id for case in cases] == [
        f"xai::{subject}::{explainer}::{check}"
        for subject in "st"
        for explainer in "efg"
        for check in ("finite", "shape")
    ]


def test_what_is_selected_by_name_but_not_claimed_is_measured(registry):
    (case, *_) = plan_cases(registry, Options(select=("linearity",)))
    assert not case.assignment.asserted


@pytest.mark.parametrize(
    "wanted, count",
    [
        ([], 12),
        (["xai::"], 12),
        (["xai::s"], 6),
        (["xai::s::"], 6),
        (["xai::s::e", "xai::s"], 6),
        (["xai::t::f::shape", "xai::s::e::shape"], 2),
    ],
)
def test_ids_are_matched_part_by_part(registry, wanted, count):
    cases = plan_cases(registry, Options(select=("shape", "finite")))
    chosen = choose(cases, wanted)
    assert len(chosen) == count
    assert chosen == [case for case in cases if case in chosen]


@pytest.mark.parametrize(
    "wanted, message",
    [
        ("xai::S", "xai::S: unknown subject 'S'. Known: s, t"),
        ("xai::s::ee", "xai::s::ee: unknown explainer 'ee'. Did you mean 'e'? Known: e, f, g"),
        ("xai::s::e::shap", "unknown check 'shap'. Did you mean 'shape'? Known: finite, shape"),
        ("xai::s::e::shape::x", "xai::s::e::shape::x: unknown part 'x'. Known: none"),
    ],
)
def test_an_id_that_matches_nothing_is_refused(registry, wanted, message):
    cases = plan_cases(registry, Options(select=("shape", "finite")))
    with pytest.raises(UnknownName, match=re.escape(message)):
        choose(cases, ["xai::s", wanted])


@pytest.mark.parametrize(
    "options, command",
    [
        (Options(), "pytest --xai 'xai::s::e::c' --xai-seed 0"),
        (
            Options(seed=3, alpha=0.01, budget=500, device="cuda:0"),
            (
                "pytest --xai 'xai::s::e::c' --xai-seed 3 --xai-alpha 0.01 --xai-budget 500 "
                "--xai-device cuda:0"
            ),
        ),
        (Options(demo=True), "pytest --xai 'xai::s::e::c' --xai-seed 0 --xai-demo"),
        (
            Options(select=("a", "b"), ignore=("c",), given=frozenset({"select", "ignore"})),
            "pytest --xai 'xai::s::e::c' --xai-seed 0 --xai-select a,b --xai-ignore c",
        ),
        (Options(select=("a",)), "pytest --xai 'xai::s::e::c' --xai-seed 0"),
        (Options(json=Path("x"), undecided="fail"), "pytest --xai 'xai::s::e::c' --xai-seed 0"),
    ],
)
def test_the_command_says_what_is_not_default(options, command):
    assert reproduce_command("xai::s::e::c", options) == command


def test_the_command_is_quoted_for_the_shell():
    command = reproduce_command("test_a.py::test_b[x y]", Options(), gate=False)
    assert command == "pytest 'test_a.py::test_b[x y]' --xai-seed 0"
