"""With pytest-xdist: the same items, the same verdicts, the same refusals.

Each run starts two processes that import torch: few tests, each of which looks at much.
"""

import json

import pytest

N = ("-n", "2")

# In the controller, at the end: what of the slow packages it has loaded.
LOOK = """
import json, sys

def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        print("loaded:", json.dumps([name for name in ("torch", "numpy") if name in sys.modules]))
"""


@pytest.mark.slow
def test_two_workers_give_the_report_of_one_process(told, comparable, add_to_conftest):
    add_to_conftest("""
        register = pytest_xai_register

        def pytest_xai_register(registry):
            register(registry)
            registry.expect_failure("fails", "told", reason="known")
    """)
    told.makepyfile(test_it="def test_ordinary(): pass")
    select = ("--xai", "--xai-select=complexity,shape,fgsm_dice")
    told.runpytest(*select, "--xai-json=alone.json")
    result = told.runpytest(*select, "--xai-json=together.json", *N)
    alone, together = (
        json.loads((told.path / f"{name}.json").read_text()) for name in ("alone", "together")
    )
    assert comparable(together) == comparable(alone)
    assert {row["outcome"] for row in alone["results"]} >= {"passed", "xfailed", "error"}
    result.stdout.fnmatch_lines_random(["fails * xfail", "* undecided in *"])


@pytest.mark.slow
def test_a_usage_error_of_the_workers_ends_the_run(told):
    told.makepyfile(test_it="def test_ordinary(): pass")
    result = told.runpytest("--xai", "xai::net::fales", "test_it.py", *N)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: xai::net::fales: unknown explainer 'fales'. Did you*"])
    assert "test_ordinary" not in result.stdout.str()


@pytest.mark.slow
def test_a_guest_that_kills_its_process_has_a_row(told, report):
    model = (told.path / "my_model.py").read_text()
    told.makepyfile(
        my_model=model.replace('raise RuntimeError("no map for you")', "import os; os._exit(3)")
    )
    payload = report("xai::net::passes::told", "xai::net::raises::told", *N)
    outcomes = {row["explainer"]: row["outcome"] for row in payload["results"]}
    assert outcomes == {"passes": "passed", "raises": "error"}
    assert list(outcomes) == ["passes", "raises"]
    assert "crashed" in payload["results"][-1]["reason"]


@pytest.mark.slow
def test_nothing_registered_and_a_controller_without_torch(empty):
    empty.makepyfile(look=LOOK, test_it="def test_ordinary(): pass")
    result = empty.runpytest_subprocess("--xai", "-p", "look", *N)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["Nothing is registered.*", "loaded: [[][]]"])
