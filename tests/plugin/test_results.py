"""Verdicts of a run, from whichever test and process they come."""


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
