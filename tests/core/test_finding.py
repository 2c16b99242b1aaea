"""The one rule for a value and its limit, and the worst image."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai.core.finding import Finding, comparable, within_limit, worst_image

NAN, INF = math.nan, math.inf


# ----------------------------------------------------------------------------------- within_limit


@pytest.mark.parametrize(
    "value, limit, at_most, at_least",
    [
        (0.4, 0.5, True, False),
        (0.6, 0.5, False, True),
        (0.5, 0.5, True, True),
        (-INF, 0.5, True, False),
        (INF, 0.5, False, True),
        (NAN, 0.5, False, False),
        (0.5, NAN, False, False),
        (NAN, NAN, False, False),
        (NAN, INF, False, False),
        (NAN, -INF, False, False),
    ],
)
def test_a_value_keeps_its_limit_and_not_a_number_never_does(value, limit, at_most, at_least):
    values = torch.tensor([value], dtype=torch.float64)
    for limits in (limit, torch.tensor([limit], dtype=torch.float64)):
        assert within_limit(values, limits, "<=").tolist() == [at_most]
        assert within_limit(values, limits, ">=").tolist() == [at_least]


def test_every_image_has_its_own_limit():
    values, limits = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 2.0])
    assert within_limit(values, limits, "<=").tolist() == [True, True, False]
    assert within_limit(values, limits, ">=").tolist() == [False, True, True]
    assert within_limit(values, 1.0, "<=").tolist() == [True, False, False]


# ------------------------------------------------------------------------------------ worst_image


@pytest.mark.parametrize(
    "values, limits, direction, place",
    [
        # Three times its limit is worse than twice, however large the numbers are.
        ([20.0, 3.0], [10.0, 1.0], "<=", 1),
        ([3.0, 20.0], [1.0, 10.0], "<=", 0),
        ([5.0, 0.2], [10.0, 1.0], ">=", 1),
        ([0.2, 5.0], [1.0, 10.0], ">=", 0),
        # Where the limit is zero, the value itself counts.
        ([0.25, 0.5], [0.0, 0.0], "<=", 1),
        ([-0.25, -0.5], [0.0, 0.0], ">=", 1),
        ([0.5, 3.0], [0.0, 1.0], "<=", 1),
        ([0.5, 1.25], [0.0, 1.0], "<=", 0),
        # A negative limit measures with its size.
        ([-1.0, -1.9], [-2.0, -2.0], "<=", 0),
        ([-3.0, -8.0], [-2.0, -6.0], ">=", 0),
        # Nothing is beyond its limit: the nearest.
        ([0.1, 0.9], [1.0, 1.0], "<=", 1),
        ([9.0, 2.0], [1.0, 1.0], ">=", 1),
        # Infinities are the worst there is, not-a-number does not count.
        ([5.0, INF], [1.0, 1.0], "<=", 1),
        ([5.0, -INF], [9.0, 1.0], ">=", 1),
        ([5.0, -INF], [9.0, 1.0], "<=", 0),
        ([NAN, 0.1, 0.2], [1.0, 1.0, 1.0], "<=", 2),
        ([NAN, -INF, NAN], [1.0, 1.0, 1.0], "<=", 1),
        # What cannot be compared does not count.
        ([5.0, 1.0], [1.0, NAN], "<=", 0),
        ([INF, 0.5], [INF, 1.0], "<=", 1),
        # Without a limit there is no violation, and beyond an infinite one no worse.
        ([9.0, 0.5], [INF, 1.0], "<=", 1),
        ([1.0, 9.0], [-INF, 1.0], "<=", 0),
    ],
)
def test_the_worst_image_is_furthest_beyond_its_limit_in_proportion(
    values, limits, direction, place
):
    assert worst_image(torch.tensor(values), torch.tensor(limits), direction) == place


@pytest.mark.parametrize("values", [[], [NAN], [NAN, NAN]])
def test_without_a_usable_image_there_is_no_worst(values):
    assert worst_image(torch.tensor(values), torch.ones(len(values)), "<=") is None


@pytest.mark.parametrize(
    "value, limit, expected",
    [
        (1.0, 2.0, True),
        (INF, 2.0, True),
        (1.0, INF, True),
        (INF, -INF, True),
        (NAN, 2.0, False),
        (1.0, NAN, False),
        (INF, INF, False),
        (-INF, -INF, False),
    ],
)
def test_an_image_can_be_judged_where_figure_and_limit_can_be_compared(value, limit, expected):
    assert comparable(torch.tensor([value]), limit).tolist() == [expected]
    assert comparable(torch.tensor([value]), torch.tensor([limit])).tolist() == [expected]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(NAN), st.integers(-20, 20).map(float)),
            st.integers(-8, 8).map(float),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["<=", ">="]),
)
def test_the_worst_image_agrees_with_a_search(pairs, direction):
    def beyond(value, limit):
        gap = value - limit if direction == "<=" else limit - value
        return gap / abs(limit) if limit else gap

    usable = {place: beyond(*pair) for place, pair in enumerate(pairs) if not math.isnan(pair[0])}
    values, limits = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    found = worst_image(values, limits, direction)
    if not usable:
        assert found is None
    else:
        assert usable[found] == max(usable.values())


def test_a_finding_that_gives_values_alone_has_the_narrowest_defaults():
    found = Finding(values=torch.ones(2))
    assert (found.limits, found.value_range, found.limit_range) == (0.0, (0.0, 1.0), (0.0, 1.0))


def test_a_finding_takes_names_only_and_cannot_be_changed():
    with pytest.raises(TypeError, match="positional"):
        Finding(torch.ones(1))
    finding = Finding(values=torch.ones(1))
    assert not hasattr(finding, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.cause = "another"
