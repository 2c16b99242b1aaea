"""Rows of verdicts, made by hand."""

import pytest


@pytest.fixture
def row():
    """A function that makes a row; what is not given is that of a plain pass."""

    def make(explainer="ig", check="shape", outcome="passed", **changes):
        values = {
            "subject": "net",
            "explainer": explainer,
            "check": check,
            "family": "contract",
            "asserted": True,
            "outcome": outcome,
            "figure": 0.0,
            "limit": 0.5,
            "direction": "<=",
            "interval": None,
            "images": 32,
            "evaluations": {"forward": 10, "backward": 5, "explainer_calls": 2},
            "seconds": 0.25,
            "seed": 0,
            "reason": "" if outcome == "passed" else f"It is {outcome}.",
            "counterexample": None,
            "reproduce": f"pytest --xai 'xai::net::{explainer}::{check}' --xai-seed 0",
        }
        assert changes.keys() <= values.keys()
        return values | changes

    return make


@pytest.fixture
def failure(row):
    """A failed row with all evidence."""
    return row(
        check="summation_to_delta",
        family="axiomatic",
        outcome="failed",
        figure=0.75,
        limit=0.5,
        interval=[0.7, 0.8],
        images=64,
        reason="The multipliers are wrong. Confirmed in float64.",
        counterexample={
            "image": 17,
            "figure": 1.25,
            "limit": 0.5,
            "cause": "The multipliers are wrong.",
            "facts": {"sum": 1.0, "f(x)": 2.5, "gap": None},
        },
    )
