"""How a snippet names the explainer, and what it says."""

from fixtures import right
from pytest_xai import explainers
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.example import Example
from pytest_xai.engine.exploration.snippet import snippet
from pytest_xai.networks import STRUCTURES
from pytest_xai.protocol import named

EXAMPLE = Example(plan=STRUCTURES["linear"], images=2, zeros=False)


def verdict_of(**fields):
    given = {"subject": "s", "explainer": "e", "check": "finite", "family": "contract"}
    return Verdict(**given, asserted=True, direction="<=", **{"outcome": "failed", **fields})


def lines(explainer, *, seed=0, **fields):
    text = snippet(EXAMPLE, named(explainer), verdict_of(**fields), seed=seed)
    compile(text, "snippet", "exec")
    return text.splitlines()


def test_what_can_be_imported_is_imported():
    found = lines(right.gradient)
    assert "from fixtures.right import gradient" in found
    assert "explainer = gradient" in found


def test_what_the_gallery_makes_is_made_with_its_options():
    found = lines(explainers.get("captum:IntegratedGradients", steps=7))
    assert 'explainer = xai.explainers.get("captum:IntegratedGradients", steps=7)' in found


def test_what_cannot_be_imported_is_named_as_that():
    def inner(model, inputs, targets):
        return inputs

    assert "explainer = ...  # put here the one that was checked" in lines(lambda *given: given[1])
    assert "explainer = inner  # the one that was checked" in lines(inner)
    assert not [line for line in lines(inner) if line.startswith("from") and "inner" in line]


def test_it_ends_with_the_call_that_fails():
    found = lines(right.gradient, figure=0.75, limit=0.5)
    assert found[-2] == "# gives 0.75, must be at most 0.5"
    call = 'xai.check_explainer(explainer, subject, checks=["finite"]'
    assert found[-1] == f"{call})"
    assert lines(right.gradient, seed=5, figure=0.75, limit=0.5)[-1] == f"{call}, seed=5)"
    found = lines(right.gradient, outcome="error", summary="explainer 'e' raised X: y\nmore")
    assert found[-2] == "# explainer 'e' raised X: y"


def test_its_subject_is_the_one_that_was_checked():
    text = "\n".join(lines(right.gradient)).rpartition("\n")[0]
    made = {}
    exec(text, made)  # noqa: S102
    subject = EXAMPLE.subject()
    for name in ("inputs", "targets", "baseline"):
        assert getattr(made["subject"], name).equal(getattr(subject, name)), name
    assert subject.baseline.any()
    assert made["subject"].model(subject.inputs).equal(subject.model(subject.inputs))
