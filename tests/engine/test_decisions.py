"""Going on to the end: more images, and no other verdict than the one that was certain."""

import pytest

import pytest_xai as xai
from pytest_xai.bench.bench import Bench
from pytest_xai.engine.run_check import Assignment, judge
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits
from studies.decisions import sharing, stopping


@pytest.mark.parametrize(
    "explainer, check, outcome",
    [
        ("captum:Saliency", "random_logit", "passed"),
        ("control:EdgeDetector", "random_logit", "failed"),
        ("control:EdgeDetector", "target_sensitive", "failed"),
    ],
)
def test_a_certain_verdict_stays_what_it_is(explainer, check, outcome):
    guest = named(xai.explainers.get(explainer))
    bench, found = Bench(load_digits()), {}
    for to_the_end in (False, True):
        task = Assignment(check=xai.checks.get(check), asserted=True, to_the_end=to_the_end)
        found[to_the_end] = judge(bench, guest, task)
    bench.close()
    assert {verdict.outcome for verdict in found.values()} == {outcome}
    everything = task.check.max_images or 360
    assert found[False].images <= min(everything, 128)
    assert found[True].images == everything


@pytest.mark.slow
def test_the_demo_needs_at_most_half_of_the_evaluations(capsys):
    assert stopping(0.001, 0), capsys.readouterr().out


@pytest.mark.slow
def test_eight_explainers_share_the_models(capsys):
    assert sharing(0), capsys.readouterr().out
