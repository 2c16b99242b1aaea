"""The one rule for passed and failed, and the row that a verdict becomes."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai import reporting
from pytest_xai.core.verdict import (
    OUTCOMES,
    Evaluations,
    Finding,
    Verdict,
    holds,
    packed,
    tells,
    unpacked,
    worst,
)

NAN, INF = math.nan, math.inf
ROW_KEYS = [
    "subject",
    "explainer",
    "check",
    "family",
    "asserted",
    "outcome",
    "figure",
    "limit",
    "direction",
    "interval",
    "images",
    "evaluations",
    "seconds",
    "seed",
    "reason",
    "counterexample",
    "reproduce",
]


def verdict_of(**fields):
    given = {
        "subject": "digits",
        "explainer": "ig",
        "check": "shape",
        "family": "contract",
        "asserted": True,
        "outcome": "failed",
        "figure": 0.75,
        "limit": 0.5,
        "direction": "<=",
        "interval": (0.25, 0.875),
        "images": 32,
        "evaluations": Evaluations(forward=3, backward=2, explainer_calls=1),
        "seconds": 1.5,
        "seed": 11,
        "reason": "It jumps.",
        "counterexample": {"image": 4, "facts": {"gap": 0.5}},
        "reproduce": "pytest --xai 'xai::digits::ig::shape'",
    }
    return Verdict(**{**given, **fields})


# -------------------------------------------------------------------------------------------- holds


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
        assert holds(values, limits, "<=").tolist() == [at_most]
        assert holds(values, limits, ">=").tolist() == [at_least]


def test_every_image_has_its_own_limit():
    values, limits = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 2.0])
    assert holds(values, limits, "<=").tolist() == [True, True, False]
    assert holds(values, limits, ">=").tolist() == [False, True, True]
    assert holds(values, 1.0, "<=").tolist() == [True, False, False]


# -------------------------------------------------------------------------------------------- worst


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
    assert worst(torch.tensor(values), torch.tensor(limits), direction) == place


@pytest.mark.parametrize("values", [[], [NAN], [NAN, NAN]])
def test_without_a_usable_image_there_is_no_worst(values):
    assert worst(torch.tensor(values), torch.ones(len(values)), "<=") is None


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
def test_an_image_tells_where_figure_and_limit_can_be_compared(value, limit, expected):
    assert tells(torch.tensor([value]), limit).tolist() == [expected]
    assert tells(torch.tensor([value]), torch.tensor([limit])).tolist() == [expected]


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
    found = worst(values, limits, direction)
    if not usable:
        assert found is None
    else:
        assert usable[found] == max(usable.values())


# ---------------------------------------------------------------------------------------------- row


def test_the_row_has_the_keys_of_the_design_and_nothing_else():
    row = verdict_of(tensors={"map": torch.ones(2)}, traceback="Traceback").row()
    assert list(row) == ROW_KEYS
    assert list(row["evaluations"]) == ["forward", "backward", "explainer_calls"]


def test_the_row_holds_the_fields_of_the_verdict():
    verdict = verdict_of()
    row = verdict.row()
    plain = set(ROW_KEYS) - {"evaluations", "interval"}
    assert {key: row[key] for key in plain} == {key: getattr(verdict, key) for key in plain}
    assert row["evaluations"] == {"forward": 3, "backward": 2, "explainer_calls": 1}
    assert row["interval"] == [0.25, 0.875]


@pytest.mark.parametrize("number", [NAN, INF, -INF])
def test_numbers_that_are_not_finite_become_none(number):
    verdict = verdict_of(figure=number, limit=number, interval=(number, 0.5))
    row = verdict.row()
    assert (row["figure"], row["limit"], row["interval"]) == (None, None, [None, 0.5])
    json.dumps(row, allow_nan=False)


def test_what_is_missing_is_none():
    row = verdict_of(figure=None, limit=None, interval=None, counterexample=None).row()
    assert [row[key] for key in ("figure", "limit", "interval", "counterexample")] == [None] * 4


def test_zero_is_a_figure_like_others():
    row = verdict_of(figure=0.0, limit=0.0, interval=(0.0, 0.0)).row()
    assert (row["figure"], row["limit"], row["interval"]) == (0.0, 0.0, [0.0, 0.0])


def test_a_guests_traceback_stands_behind_the_reason():
    row = verdict_of(outcome="error", reason="It raised.", traceback="Traceback\n  line 1").row()
    assert row["reason"] == "It raised.\nTraceback\n  line 1"
    assert verdict_of(reason="It raised.", traceback=None).row()["reason"] == "It raised."


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("interval", [None, (0.25, 0.75)])
def test_a_row_becomes_the_verdict_again(outcome, interval):
    verdict = verdict_of(outcome=outcome, interval=interval, figure=None)
    again = Verdict.from_row(json.loads(json.dumps(verdict.row())))
    assert again == verdict
    assert again.row() == verdict.row()


def test_a_verdict_from_a_row_has_its_traceback_in_the_reason():
    again = Verdict.from_row(verdict_of(reason="It raised.", traceback="Traceback").row())
    assert (again.reason, again.traceback) == ("It raised.\nTraceback", None)


def test_reading_a_row_leaves_it_as_it_is():
    row = verdict_of().row()
    copy = json.loads(json.dumps(row))
    Verdict.from_row(row)
    assert row == copy


# ------------------------------------------------------------------------------------ fails the run


@pytest.mark.parametrize(
    "outcome, fails",
    [
        ("passed", False),
        ("failed", True),
        ("undecided", False),
        ("not_applicable", False),
        ("error", True),
        ("xfailed", False),
        ("xpassed", True),
    ],
)
def test_what_fails_the_run_is_asserted_and_unexpected(outcome, fails):
    assert verdict_of(outcome=outcome).fails_run is fails
    assert verdict_of(outcome=outcome, asserted=False).fails_run is False


def test_the_outcomes_are_those_of_the_design_and_of_the_reports():
    assert OUTCOMES == (
        "passed",
        "failed",
        "undecided",
        "not_applicable",
        "error",
        "xfailed",
        "xpassed",
    )
    assert reporting.OUTCOMES == OUTCOMES


def test_a_verdict_cannot_be_changed_and_compares_without_its_pictures():
    verdict = verdict_of(tensors={"map": torch.ones(2)})
    assert verdict == verdict_of(tensors={})
    assert "tensors" not in repr(verdict)
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.outcome = "passed"


def test_what_a_check_does_not_say_is_the_least_that_it_could():
    found = Finding(values=torch.ones(2))
    assert (found.limits, found.value_range, found.limit_range) == (0.0, (0.0, 1.0), (0.0, 1.0))
    asked = {"subject": "", "explainer": "", "check": "", "family": "", "direction": "<="}
    row = Verdict(**asked, asserted=True, outcome="passed").row()
    assert [row[key] for key in ("figure", "limit", "interval", "counterexample")] == [None] * 4
    assert [row[key] for key in ("images", "seconds", "seed")] == [0, 0, 0]
    assert set(row["evaluations"].values()) == {0}


@pytest.mark.parametrize("kind", [Finding, Evaluations, Verdict])
def test_records_take_names_only_and_cannot_be_changed(kind):
    with pytest.raises(TypeError, match="positional"):
        kind("digits")
    fields = {field.name: torch.ones(1) for field in dataclasses.fields(kind)}
    record = kind(**fields)
    assert not hasattr(record, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, next(iter(fields)), 1)


def test_evaluations_are_subtracted_and_a_budget_counts_those_of_the_model():
    late = Evaluations(forward=10, backward=7, explainer_calls=5)
    early = Evaluations(forward=4, backward=2, explainer_calls=3)
    assert late - early == Evaluations(forward=6, backward=5, explainer_calls=2)
    assert (late.model, early.model) == (17, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("shape", [(2, 3), (1, 1, 4), (5,), ()])
def test_a_packed_tensor_is_the_same_to_the_bit(dtype, shape):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = (drawn * 1e3).to(dtype)
    again = unpacked(json.loads(json.dumps(packed(values.mT if values.ndim > 1 else values))))
    assert again.dtype == dtype
    assert torch.equal(again.mT if again.ndim > 1 else again, values)


def test_what_a_packed_tensor_looks_like():
    """Shape, dtype and little-endian bytes: 1.0 and -2.0 in float32."""
    entry = {"shape": [1, 2], "dtype": "float32", "base64": "AACAPwAAAMA="}
    assert packed(torch.tensor([[1.0, -2.0]])) == entry
