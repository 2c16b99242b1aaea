"""Going on to the end: more images, and no other verdict than the one that was certain."""

import pytest

import pytest_xai as xai
from pytest_xai.bench.bench import Bench
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits
from studies.decisions import run_to_the_end, sharing, stopping


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
    task = Task(check=xai.checks.get(check), explainer=guest, asserted=True)
    bench = Bench(load_digits())
    stopped, ended = run_check(bench, task), run_to_the_end(bench, task)
    bench.close()
    assert stopped.outcome == ended.outcome == outcome
    everything = task.check.max_images or 360
    assert stopped.images <= min(everything, 128)
    assert ended.images == everything


@pytest.mark.slow
def test_the_demo_needs_at_most_half_of_the_evaluations(capsys):
    assert stopping(0.001, 0), capsys.readouterr().out


@pytest.mark.slow
def test_eight_explainers_share_the_models(capsys):
    assert sharing(0), capsys.readouterr().out
