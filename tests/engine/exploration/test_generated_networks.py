"""A check on generated networks, and the smallest one that it fails on."""

import pytest
import torch

from fixtures.right import gradient
from pytest_xai import checks
from pytest_xai.engine.exploration import on_networks
from pytest_xai.engine.exploration.example import Example
from pytest_xai.engine.task import Task
from pytest_xai.errors import CheckFailed
from pytest_xai.protocol import named
from pytest_xai.registry import find

pytestmark = pytest.mark.usefixtures("small")
FAST = ("finite", "shape", "deterministic")


def explored(explain, *names, budget=None):
    checks.all()
    tasks = [
        Task(check=find(name), explainer=named(explain), asserted=True, budget=budget)
        for name in names
    ]
    verdicts = on_networks(tasks)
    assert [verdict.check for verdict in verdicts] == list(names)
    return verdicts


def run(snippet, explain):
    """Run a snippet with the explainer that it is about."""
    exec(snippet, {explain.__name__: explain, "__name__": "snippet"})  # noqa: S102


def test_a_right_explainer_passes_on_all():
    for verdict in explored(gradient, *FAST):
        assert (verdict.outcome, verdict.subject, verdict.counterexample) == (
            "passed",
            "networks",
            None,
        )
        assert verdict.reason == "The check passes on 4 of 4 networks."


def test_the_counterexample_is_small_and_its_snippet_shows_it(nan_behind_pools):
    finite, shape = explored(nan_behind_pools, "finite", "shape")
    assert (finite.outcome, shape.outcome) == ("failed", "passed")
    example = finite.counterexample
    assert example["network"].startswith("2 layers on inputs of 1x")
    assert {"image", "facts", "network", "snippet"} <= example.keys()
    assert "explainer = explain  # the one that was checked" in example["snippet"]
    with pytest.raises(CheckFailed, match="finite"):
        run(example["snippet"], nan_behind_pools)


def test_an_explainer_of_images_is_not_blamed_for_tables():
    def images_only(model, inputs, targets):
        if inputs.ndim != 4:
            raise RuntimeError("four axes, please")
        return gradient(model, inputs, targets)

    (verdict,) = explored(images_only, "finite")
    assert verdict.outcome == "passed"
    assert (
        " left out: inputs that are not images: explainer 'images_only' raised RuntimeError: "
        "four axes, please." in verdict.reason
    )


def test_an_error_has_a_snippet_and_its_traceback():
    def raises(model, inputs, targets):
        raise ValueError("no map\nfor you")

    verdicts = explored(raises, "finite", "shape")
    for verdict in verdicts:
        assert verdict.outcome == "error"
        assert verdict.reason.startswith(
            "explainer 'raises' raised ValueError: no map. The same outcome"
        )
        assert 'raise ValueError("no map' in verdict.traceback
        assert verdict.counterexample["network"].startswith("1 layer ")
        with pytest.raises(CheckFailed, match="no map"):
            run(verdict.counterexample["snippet"], raises)
    # What breaks all checks alike is looked for once.
    assert len({verdict.counterexample["network"] for verdict in verdicts}) == 1
    assert verdicts[1].evaluations.explainer_calls <= verdicts[0].evaluations.explainer_calls


def test_an_explainer_that_is_never_the_same_fails_and_stops():
    counts = []

    def unsteady(model, inputs, targets):
        counts.append(0)
        return torch.full_like(inputs, float(len(counts)))

    (verdict,) = explored(unsteady, "deterministic")
    assert verdict.outcome == "failed"
    assert verdict.counterexample["network"].startswith("1 layer ")
    with pytest.raises(CheckFailed, match="deterministic"):
        run(verdict.counterexample["snippet"], unsteady)


def test_what_no_network_shows_is_shown_on_one_that_could():
    def blind(model, inputs, targets):
        return torch.ones_like(inputs)

    (verdict,) = explored(blind, "target_sensitive")
    assert verdict.outcome == "failed"
    with pytest.raises(CheckFailed, match="target_sensitive"):
        run(verdict.counterexample["snippet"], blind)
    (verdict,) = explored(gradient, "target_sensitive")
    assert (verdict.outcome, verdict.counterexample) == ("passed", None)


@pytest.fixture
def made(monkeypatch):
    """How many images each run of a network was of."""
    counts, make = [], Example.subject

    def subject(example):
        made = make(example)
        # The first run, on one image, shows the bench what the model does by itself.
        runs = []
        made.model.register_forward_hook(
            lambda _, given, __: counts.append(len(given[0])) if runs else runs.append(1)
        )
        return made

    monkeypatch.setattr(Example, "subject", subject)
    return counts


@pytest.mark.parametrize("budget", [None, 0, 5, 100])
def test_evaluations_are_those_that_were_made_and_no_more_than_allowed(made, budget):
    verdicts = explored(gradient, *FAST, budget=budget)
    assert sum(made) == sum(verdict.evaluations.forward for verdict in verdicts)
    assert sum(made) > 20 or budget is not None
    if budget is not None:
        assert sum(verdict.evaluations.model for verdict in verdicts) <= 3 * budget
    expected = "passed" if budget in {None, 100} else "undecided"
    assert verdicts[0].outcome == expected
