"""Verdicts of a run, from whichever test and process they come."""

import pytest

TESTS = """
import pytest
import told
from my_model import gradient, load_subject, raises
from pytest_xai import CheckFailed, Bench, explainer
from pytest_xai.protocol import named


def test_a_pass(xai_check):
    verdict = xai_check(gradient, "shape", load_subject())
    assert (verdict.outcome, verdict.subject) == ("passed", "Sequential")


def test_registered_names(xai_check, xai_bench):
    assert xai_check("passes", "told", "net").outcome == "passed"
    assert xai_bench("net") is xai_bench("net")
    assert xai_bench("net").subject.name == "net"


def test_a_failure(xai_check):
    xai_check("fails", "told", "net")


def test_an_error(xai_check):
    with pytest.raises(CheckFailed, match="no map for you"):
        xai_check(raises, "shape", load_subject())


def test_undecided(xai_check):
    assert xai_check("undecided", "told", "net").outcome == "undecided"


def test_not_applicable(xai_check):
    verdict = xai_check("not_applicable", "told", "net")
    assert (verdict.outcome, verdict.reason) == ("not_applicable", "told so")


def test_a_bench(xai_bench):
    subject = load_subject()
    subject.model.train()
    bench = xai_bench(subject)
    assert isinstance(bench, Bench)
    assert xai_bench(subject) is bench
    assert len(bench) == 40
    assert not subject.model.training
"""


@pytest.fixture
def handwritten(told):
    told.makepyfile(test_it=TESTS)
    return told


def test_rows_of_hand_written_tests_stand_after_the_plan(handwritten, report):
    payload = report("xai::net::passes::told", "test_it.py", "-k", "told or test_a_failure")
    assert [(row["explainer"], row["subject"]) for row in payload["results"]] == [
        ("passes", "net"),
        ("fails", "net"),
    ]
    assert (
        payload["results"][1]["reproduce"] == "pytest --xai test_it.py::test_a_failure --xai-seed 0"
    )


def test_what_needs_a_gpu_is_skipped_without_one(told, report, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    told.makepyfile(
        told=(told.path / "told.py").read_text().replace("limit_s", 'marks=("gpu",), limit_s')
    )
    payload = report("xai::net::passes::told")
    (row,) = payload["results"]
    assert (row["outcome"], row["reason"]) == ("not_applicable", "needs a GPU that torch can use")


def test_an_item_that_breaks_before_its_verdict_has_a_row(told, report, add_to_conftest):
    add_to_conftest("""
        def pytest_runtest_setup(item):
            raise OSError("the disk is full")
    """)
    payload = report("xai::net::passes::told")
    (row,) = payload["results"]
    assert row["outcome"] == "error"
    assert "the disk is full" in row["reason"]
