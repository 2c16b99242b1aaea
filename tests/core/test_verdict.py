"""The one rule for passed and failed, and the row that a verdict becomes."""

import dataclasses
import json
import math

import pytest
import torch

from pytest_xai.core.verdict import OUTCOMES, Evaluations, Verdict, finite

NAN, INF = math.nan, math.inf
ROW_KEYS = [
    "subject",
    "explainer",
    "check",
    "family",
    "asserted",
    "outcome",
    "claim",
    "figure",
    "figure_name",
    "unit",
    "limit",
    "limit_source",
    "direction",
    "interval",
    "images",
    "evaluations",
    "seconds",
    "seed",
    "reason",
    "summary",
    "cause",
    "notes",
    "counterexample",
    "reproduce",
    "traceback",
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
        "cause": "It jumps.",
        "notes": ("Noted.",),
        "counterexample": {"image": 4, "facts": {"gap": 0.5}},
        "reproduce": "pytest --xai 'xai::digits::ig::shape'",
    }
    return Verdict(**{**given, **fields})


# ---------------------------------------------------------------------------------------------- row


def test_the_row_has_the_keys_of_the_design_and_nothing_else():
    row = verdict_of(tensors={"map": torch.ones(2)}, traceback="Traceback").row()
    assert sorted(row) == sorted(ROW_KEYS)
    assert list(row["evaluations"]) == ["forward", "backward", "explainer_calls"]


def test_the_row_holds_the_fields_of_the_verdict():
    verdict = verdict_of()
    row = verdict.row()
    plain = set(ROW_KEYS) - {"evaluations", "interval", "notes"}
    assert {key: row[key] for key in plain} == {key: getattr(verdict, key) for key in plain}
    assert row["evaluations"] == {"forward": 3, "backward": 2, "explainer_calls": 1}
    assert row["interval"] == [0.25, 0.875]
    assert row["notes"] == ["Noted."]


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


def test_the_reason_has_summary_cause_and_notes_in_this_order():
    parts = {"summary": "Expected to fail: blind.", "cause": "It jumps.", "notes": ("A.", "B.")}
    assert verdict_of(**parts).reason == "Expected to fail: blind. It jumps. A. B."
    assert verdict_of(summary="", cause="", notes=()).reason == ""
    long = verdict_of(summary="It raised X: no\nsecond line", cause="", notes=("On 2 of 3.",))
    assert long.reason == "It raised X: no. On 2 of 3.\nsecond line"


def test_a_traceback_stands_after_the_reason_in_the_row():
    said = {"outcome": "error", "summary": "It raised.", "cause": "", "notes": ()}
    row = verdict_of(**said, traceback="Traceback\n  line 1").row()
    assert row["reason"] == "It raised.\nTraceback\n  line 1"
    assert verdict_of(**said, traceback=None).row()["reason"] == "It raised."


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("interval", [None, (0.25, 0.75)])
def test_a_row_becomes_the_verdict_again(outcome, interval):
    verdict = verdict_of(outcome=outcome, interval=interval, figure=None)
    again = Verdict.from_row(json.loads(json.dumps(verdict.row())))
    assert again == verdict
    assert again.row() == verdict.row()


def test_a_verdict_from_a_row_keeps_its_traceback():
    verdict = verdict_of(summary="It raised.", traceback="Traceback")
    assert Verdict.from_row(verdict.row()) == verdict


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


def test_the_outcomes_are_those_of_the_design():
    assert OUTCOMES == (
        "passed",
        "failed",
        "undecided",
        "not_applicable",
        "error",
        "xfailed",
        "xpassed",
    )


def test_a_verdict_cannot_be_changed_and_compares_without_its_pictures():
    verdict = verdict_of(tensors={"map": torch.ones(2)})
    assert verdict == verdict_of(tensors={})
    assert "tensors" not in repr(verdict)
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.outcome = "passed"


def test_what_a_check_does_not_say_is_the_least_that_it_could():
    asked = {"subject": "", "explainer": "", "check": "", "family": "", "direction": "<="}
    row = Verdict(**asked, asserted=True, outcome="passed").row()
    assert [row[key] for key in ("figure", "limit", "interval", "counterexample")] == [None] * 4
    assert [row[key] for key in ("images", "seconds", "seed")] == [0, 0, 0]
    assert set(row["evaluations"].values()) == {0}


@pytest.mark.parametrize("kind", [Evaluations, Verdict])
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


def test_evaluations_are_added_up():
    parts = [Evaluations(forward=1, backward=2), Evaluations(forward=3, explainer_calls=4)]
    assert sum(parts, Evaluations()) == Evaluations(forward=4, backward=2, explainer_calls=4)


def test_what_is_not_finite_becomes_none_at_any_depth():
    value = {"a": [1.0, NAN, (INF, -INF)], "b": {"c": NAN}, 3: "nan", "d": True, "e": 10**400}
    assert finite(value) == {
        "a": [1.0, None, [None, None]],
        "b": {"c": None},
        "3": "nan",
        "d": True,
        "e": 10**400,
    }


@pytest.mark.parametrize(
    "asserted, interval, sampled",
    [(True, (0, 1), True), (False, (0, 1), False), (True, None, False)],
)
def test_a_sampled_verdict_is_asserted_and_has_an_interval(asserted, interval, sampled):
    assert verdict_of(asserted=asserted, interval=interval).sampled is sampled
