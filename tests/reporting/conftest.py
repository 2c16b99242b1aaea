"""Verdicts, made by hand."""

import pytest

from pytest_xai.core.verdict import Evaluations, Verdict


@pytest.fixture
def verdict():
    """A function that makes a verdict; a field that is not given is that of a plain pass."""

    def make(explainer="ig", check="shape", outcome="passed", **changes):
        fields = {
            "subject": "net",
            "family": "contract",
            "asserted": True,
            "figure": 0.0,
            "limit": 0.5,
            "direction": "<=",
            "images": 32,
            "evaluations": Evaluations(forward=10, backward=5, explainer_calls=2),
            "seconds": 0.25,
            "summary": "" if outcome == "passed" else f"It is {outcome}.",
            "reproduce": f"pytest --xai 'xai::net::{explainer}::{check}' --xai-seed 0",
        }
        return Verdict(explainer=explainer, check=check, outcome=outcome, **(fields | changes))

    return make


@pytest.fixture
def failure(verdict):
    """A failed verdict with all evidence."""
    return verdict(
        check="summation_to_delta",
        family="axiomatic",
        outcome="failed",
        claim="Attributions sum to f(x) - f(x').",
        figure=0.75,
        figure_name="gap between the sum and f(x) - f(x')",
        limit=0.5,
        limit_source="The rounding of the sum.",
        interval=(0.7, 0.8),
        images=64,
        summary="",
        cause="The multipliers are wrong.",
        notes=("Confirmed in float64.",),
        counterexample={
            "image": 17,
            "figure": 1.25,
            "limit": 0.5,
            "cause": "The multipliers are wrong.",
            "facts": {"sum": 1.0, "f(x)": 2.5, "gap": None},
        },
    )
