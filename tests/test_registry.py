"""The table of checks: what enters it, what it refuses, how it is asked."""

import dataclasses
import re

import pytest

from pytest_xai import registry
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.registry import Cost

FIELDS = {
    "family": "contract",
    "question": "Is it so?",
    "claim": "It is so.",
    "source": "design",
    "scope": "universal",
    "limit_source": "The contract.",
}


@pytest.fixture(autouse=True)
def table(monkeypatch):
    """An empty table in place of the real one."""
    monkeypatch.setattr(registry, "CHECKS", {})
    return registry.CHECKS


def finding_of(bench, explainer):
    raise NotImplementedError


def elsewhere(name):
    """Another function of that name."""

    def function(bench, explainer):
        raise NotImplementedError

    function.__name__ = name
    return function


def test_families_are_those_of_the_design_in_its_order():
    assert registry.FAMILIES == (
        "contract",
        "axiomatic",
        "randomisation",
        "robustness",
        "adversarial",
        "faithfulness",
        "localisation",
        "complexity",
    )


def test_a_function_is_entered_under_its_name_and_returned_as_it_is(table):
    assert registry.check(**FIELDS)(finding_of) is finding_of
    assert list(table) == ["finding_of"]
    entered = table["finding_of"]
    assert entered.function is finding_of
    assert {field: getattr(entered, field) for field in FIELDS} == FIELDS
    assert entered.name == "finding_of"


def test_what_is_not_said_has_the_cautious_value(table):
    registry.check(**FIELDS)(finding_of)
    entered = table["finding_of"]
    assert (entered.direction, entered.judged) == ("<=", "exact")
    assert entered.cost == Cost(forward=0, backward=0, explainer_calls=1, per_layer=0)
    assert (entered.max_images, entered.arbitrated, entered.marks) == (None, False, ())


def test_everything_that_is_said_is_kept(table):
    said = {
        "direction": ">=",
        "judged": "mean",
        "cost": Cost(forward=3),
        "max_images": 7,
        "arbitrated": True,
        "marks": ("slow",),
        "figure": "share of the map",
        "unit": "pixels",
    }
    registry.check(**FIELDS, **said)(finding_of)
    entered = table["finding_of"]
    assert {field: getattr(entered, field) for field in said} == said
    fields = {field.name for field in dataclasses.fields(entered)}
    assert fields == {*FIELDS, *said, "name", "function"}


@pytest.mark.parametrize(
    "argument, values",
    [
        ("family", registry.FAMILIES),
        ("scope", ("universal", "claimed", "quality", "probe")),
        ("judged", ("exact", "mean", "paired")),
        ("direction", ("<=", ">=")),
    ],
)
def test_every_documented_value_is_taken(argument, values, table):
    for value in values:
        table.clear()
        registry.check(**{**FIELDS, argument: value})(finding_of)
        assert getattr(table["finding_of"], argument) == value


@pytest.mark.parametrize(
    "argument, expected",
    [
        ("family", "one of ('contract', 'axiomatic', "),
        ("scope", "one of ('universal', 'claimed', 'quality', 'probe')"),
        ("judged", "one of ('exact', 'mean', 'paired')"),
        ("direction", "one of ('<=', '>=')"),
    ],
)
def test_a_value_that_does_not_exist_is_refused(argument, expected, table):
    with pytest.raises(InvalidArgument) as caught:
        registry.check(**{**FIELDS, argument: "no such"})
    assert str(caught.value).startswith(f"{argument}: got 'no such', expected {expected}")
    assert table == {}


def test_a_second_check_of_a_name_is_refused_with_both_places(table):
    registry.check(**FIELDS)(finding_of)
    with pytest.raises(InvalidArgument) as caught:
        registry.check(**FIELDS)(elsewhere("finding_of"))
    first, second = re.findall(r"in ([\w.<>]+)", str(caught.value).partition("twice:")[2])
    assert str(caught.value).startswith("check 'finding_of' is defined twice: in ")
    assert first == f"{__name__}.finding_of"
    assert second == f"{__name__}.elsewhere.<locals>.function"
    assert table["finding_of"].function is finding_of


def test_a_module_that_is_loaded_again_may_enter_its_check_again(table):
    first, again = elsewhere("one"), elsewhere("one")
    registry.check(**FIELDS)(first)
    registry.check(**FIELDS)(again)
    assert table["one"].function is again


def test_find_gives_the_check_or_the_names_there_are(table):
    registry.check(**FIELDS)(finding_of)
    assert registry.find("finding_of") is table["finding_of"]
    with pytest.raises(UnknownName) as caught:
        registry.find("findin_of")
    assert str(caught.value) == (
        "unknown check 'findin_of'. Did you mean 'finding_of'? Known: finding_of"
    )


def test_a_check_cannot_be_changed(table):
    registry.check(**FIELDS)(finding_of)
    with pytest.raises(dataclasses.FrozenInstanceError):
        table["finding_of"].scope = "claimed"


@pytest.mark.parametrize(
    "cost, text, least",
    [
        (Cost(), "1 map", 1),
        (Cost(explainer_calls=0), "0 maps", 0),
        (Cost(forward=2, explainer_calls=3), "2 forward + 3 maps", 5),
        (Cost(forward=2, backward=4), "2 forward + 4 backward + 1 map", 7),
        (Cost(backward=4, per_layer=1), "4 backward + 1 map + 1 map per layer", 5),
        (Cost(explainer_calls=10, per_layer=10), "10 maps + 10 maps per layer", 10),
    ],
)
def test_a_cost_in_words_and_at_the_least(cost, text, least):
    assert str(cost) == text
    assert cost.least == least
