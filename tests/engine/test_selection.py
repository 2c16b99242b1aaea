"""What is run on an explainer, and what it may cost."""

from dataclasses import replace

import pytest

from fixtures.loops import in_one_test
from fixtures.made_checks import BAD, BROKEN, GOOD, KEPT, MOVED, STEADY, TABLE, check_of
from pytest_xai import checks
from pytest_xai.engine import selection
from pytest_xai.engine.selection import applying, select, share_alpha, share_budget
from pytest_xai.engine.task import Task
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.protocol import NamedExplainer, Traits
from pytest_xai.registry import Cost


@pytest.fixture
def table(monkeypatch):
    """A table of checks that are made by hand, in place of the real one."""
    monkeypatch.setattr(selection.catalogue, "all", lambda: list(TABLE))


def of(*claims):
    """An explainer that claims these checks; always the same one, so that tasks can be compared."""
    return EXPLAINERS.setdefault(
        claims, NamedExplainer(name="e", call=print, traits=Traits(claims=frozenset(claims)))
    )


EXPLAINERS = {}


def names(tasks):
    return [task.check.name for task in tasks]


def task(check, *claims, asserted=True):
    return Task(check=check, explainer=of(*claims), asserted=asserted)


made_up = pytest.mark.usefixtures("table")


# ---------------------------------------------------------------------------------------- selection


@made_up
def test_universal_and_quality_checks_apply_to_all_and_properties_to_who_claims_them():
    assert names(select(of())) == ["good", "bad", "steady", "moved"]
    claiming = of("broken")
    assert names(select(claiming)) == ["good", "bad", "broken", "steady", "moved"]
    assert all(each.asserted for each in select(claiming))


@made_up
@pytest.mark.parametrize(
    "chosen, ignored, expected",
    [
        (["good"], [], ["good"]),
        (["contract"], [], ["good", "bad"]),
        (["adversarial", "good"], [], ["good", "moved"]),
        (["moved", "good"], [], ["good", "moved"]),
        (["contract"], ["bad"], ["good"]),
        ([], ["contract"], ["steady", "moved"]),
        ([], ["bad", "robustness"], ["good", "moved"]),
        (["bad"], ["contract"], []),
        (["bad"], ["bad"], []),
        (["complexity"], [], []),
    ],
)
def test_names_and_families_are_selected_and_ignored_in_the_order_of_the_table(
    chosen, ignored, expected
):
    assert names(select(of(), select=chosen, ignore=ignored)) == expected


@made_up
def test_a_property_asked_for_by_name_is_measured_where_it_is_not_claimed():
    assert select(of(), select=["broken", "good"]) == [
        task(GOOD),
        task(BROKEN, asserted=False),
    ]
    claiming = of("broken")
    assert select(claiming, select=["broken"]) == [task(BROKEN, "broken")]


@pytest.mark.parametrize(
    "chosen, ignored, expected",
    [
        ([], [], ["good"]),
        (["adversarial"], [], []),
        (["slow"], [], ["long"]),
        (["long"], [], ["long"]),
        (["contract", "slow"], [], ["good", "long"]),
        (["slow"], ["adversarial"], []),
        (["long"], ["slow"], []),
    ],
)
def test_a_slow_check_runs_where_its_name_or_the_word_asks_for_it(
    chosen, ignored, expected, monkeypatch
):
    long = replace(check_of("long", "adversarial", scope="quality"), marks=("slow",))
    monkeypatch.setattr(selection.catalogue, "all", lambda: [GOOD, long])
    assert names(select(of(), select=chosen, ignore=ignored)) == expected
    assert applying(of()) == ["good", "long"]
    claiming = of("long")
    assert names(select(claiming)) == applying(claiming) == ["good", "long"]


@made_up
def test_a_property_is_not_asked_for_by_its_family():
    assert select(of(), select=["axiomatic"]) == []
    claiming = of("kept")
    assert select(claiming, select=["axiomatic"]) == [task(KEPT, "kept")]


@made_up
@pytest.mark.parametrize("argument", ["select", "ignore"])
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(argument):
    with pytest.raises(UnknownName) as caught:
        select(of(), **{argument: ["good", "brokn"]})
    message = str(caught.value)
    assert message.startswith("unknown check or family 'brokn'. Did you mean 'broken'? Known: ")
    assert message.endswith(", good, bad, kept, broken, steady, moved")
    assert "contract, axiomatic, " in message


@made_up
def test_a_family_is_no_claim():
    with pytest.raises(UnknownName) as caught:
        select(of("axiomatic"))
    assert str(caught.value) == (
        "unknown claim 'axiomatic'. Known: good, bad, kept, broken, steady, moved"
    )


@made_up
def test_a_claim_that_is_no_check_is_refused_whatever_is_selected():
    with pytest.raises(UnknownName) as caught:
        select(of("kept", "brokn"), select=["good"])
    assert str(caught.value) == (
        "unknown claim 'brokn'. Did you mean 'broken'? "
        "Known: good, bad, kept, broken, steady, moved"
    )


@in_one_test("check", checks.all(), ids=lambda check: check.name)
def test_every_real_check_applies_as_its_scope_says(check):
    unasked = check.scope not in {"claimed", "probe"} and "slow" not in check.marks
    assert (check.name in names(select(of()))) == unasked
    claiming = of(check.name)
    assert task(check, check.name) in select(claiming, probes=True)
    assert names(select(of(), select=[check.name])) == [check.name]


# ------------------------------------------------------------------------------- what is shared out


def plan(*checks, asserted=True):
    return [task(check, asserted=asserted) for check in checks]


@pytest.mark.parametrize(
    "tasks, share",
    [
        (plan(STEADY, MOVED), 0.005),
        (plan(STEADY, MOVED, GOOD, BAD), 0.005),
        (plan(STEADY, MOVED, STEADY, STEADY), 0.0025),
        (plan(STEADY) + plan(MOVED, MOVED, asserted=False), 0.01),
        (plan(STEADY, MOVED, asserted=False), 0.01),
        (plan(GOOD, BAD), 0.01),
        ([], 0.01),
    ],
)
def test_alpha_is_divided_by_the_sampled_verdicts_that_are_asserted(tasks, share):
    assert share_alpha(0.01, tasks) == pytest.approx(share)
    assert share_alpha(0.01, iter(tasks)) == pytest.approx(share)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_a_level_that_is_no_probability_is_refused(alpha):
    with pytest.raises(InvalidArgument) as caught:
        share_alpha(alpha, plan(STEADY, MOVED))
    assert str(caught.value) == f"alpha: got {alpha}, expected between 0 and 1"


def test_checks_that_cost_nothing_share_a_budget_too():
    free = check_of("free", "contract", cost=Cost(explainer_calls=0))
    assert share_budget(10, plan(free, free)) == [0, 0]


def test_a_budget_is_shared_in_proportion_to_the_declared_cost():
    light, heavy = (
        check_of("light", "contract"),
        check_of("heavy", "contract", cost=Cost(forward=8)),
    )
    assert (light.cost.least, heavy.cost.least) == (1, 9)
    assert share_budget(100, plan(light, heavy)) == [10, 90]
    assert share_budget(109, plan(light, heavy)) == [10, 98]
    assert share_budget(9, plan(light, heavy)) == [0, 8]
    assert share_budget(0, plan(light, heavy)) == [0, 0]


def test_where_maps_are_expensive_a_check_that_needs_more_of_them_gets_more():
    one = check_of("one", "contract")
    three = check_of("three", "contract", cost=Cost(forward=2, explainer_calls=3))
    assert share_budget(60, plan(one, three)) == [10, 50]
    assert share_budget(420, plan(one, three), per_map=10) == [100, 320]


def test_without_a_budget_there_is_no_limit():
    assert share_budget(None, plan(GOOD, BAD)) == [None, None]
    assert share_budget(None, []) == share_budget(100, []) == []


def test_a_negative_budget_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        share_budget(-1, plan(GOOD))
    assert str(caught.value) == "budget: got -1, expected a number of evaluations >= 0"
