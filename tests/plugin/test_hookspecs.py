"""The hook of a model repo: called once per process, with what takes the registrations."""

import inspect

from pytest_xai.plugin import hookspecs
from pytest_xai.plugin.model_repo import ModelRepo


def test_the_hook_has_the_argument_of_the_public_contract():
    assert list(inspect.signature(hookspecs.pytest_xai_register).parameters) == ["registry"]
    for name in ("subject", "explainer", "expect_failure"):
        assert callable(getattr(ModelRepo, name))


def test_the_hook_is_called_once_with_what_takes_the_registrations(repo, add_to_conftest):
    add_to_conftest("""
        register = pytest_xai_register

        def pytest_xai_register(registry):
            print("called with", type(registry).__name__)
            register(registry)
    """)
    result = repo.runpytest("--xai", "--co", "-q", "-s")
    assert result.stdout.str().count("called with ModelRepo") == 1
