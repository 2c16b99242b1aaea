"""The hook of a model repo: called once per process, with what takes the registrations."""

import inspect

from pytest_xai.plugin import hookspecs
from pytest_xai.plugin.model_repo import ModelRepo


def test_the_hook_has_the_argument_of_the_public_contract():
    assert list(inspect.signature(hookspecs.pytest_xai_register).parameters) == ["registry"]
    for name in ("subject", "explainer", "expect_failure"):
        assert callable(getattr(ModelRepo, name))


def test_every_conftest_is_asked_once(repo):
    repo.makepyfile(
        other="""
        asked = []

        def pytest_xai_register(registry):
            asked.append(type(registry).__name__)

        def pytest_sessionfinish():
            print("asked", asked)
        """
    )
    result = repo.runpytest("--xai", "--co", "-q", "-s", "-p", "other")
    result.stdout.fnmatch_lines(["*asked [[]'ModelRepo'[]]*"])
