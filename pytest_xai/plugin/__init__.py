"""The pytest plugin: options, markers, fixtures; with ``--xai`` it registers the hooks of the gate.

Every run of pytest imports this module, so it imports nothing slow: no torch, no numpy, no rich.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_xai.plugin.flags import MARKERS, add_options, is_active, is_listing

if TYPE_CHECKING:
    from pytest_xai.plugin.fixtures import Bencher, Checker

__all__: list[str] = []

# From a folder below the root, pytest itself shows ids as ../xai::...
_CASE_ID = re.compile(r"(?:\.\.?/)*(xai::.*)")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook ``pytest_xai_register``."""
    from pytest_xai.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Hide ids of cases from pytest, which would look for conftests of a folder ``xai``."""
    arguments = early_config.known_args_namespace.file_or_dir
    arguments[:] = [argument for argument in arguments if not _CASE_ID.fullmatch(argument)]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Print the listing instead of running anything."""
    if not is_listing(config):
        return None
    from pytest_xai.reporting.listing import print_listing

    print_listing()
    return 0


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, take ids of cases out of the arguments, and start the gate."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    found = [_CASE_ID.fullmatch(argument) for argument in config.args]
    ids = [match[1] for match in found if match]
    if not is_active(config):
        if ids:
            raise pytest.UsageError(f"{ids[0]} is a check of pytest-xai: pass --xai as well")
        return
    from pytest_xai.plugin.gate import Gate

    config.args = [
        argument for argument, match in zip(config.args, found, strict=True) if not match
    ]
    narrowed = not ids and all("::" in argument for argument in config.args)
    config.pluginmanager.register(Gate(config, ids, narrowed=narrowed), "xai-gate")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip hand-written tests that are marked ``xai``, unless the gate runs."""
    if is_active(config):
        return
    for item in items:
        if item.get_closest_marker("xai"):
            item.add_marker(pytest.mark.skip(reason="needs --xai"))


@pytest.fixture
def xai_bench(request: pytest.FixtureRequest) -> "Iterator[Bencher]":
    """A function from a `Subject`, or the name of a registered one, to its `Bench`.

    The run's seed and device hold; without ``--xai`` their defaults. The bench of a subject that
    is not registered ends with the test.
    """
    from pytest_xai.plugin.fixtures import FixtureTools

    tools = FixtureTools(request)
    yield tools.bench
    tools.close()


@pytest.fixture
def xai_check(request: pytest.FixtureRequest) -> "Iterator[Checker]":
    """A function ``xai_check(explainer, check, subject)`` that returns the `Verdict` of one check.

    It raises `CheckFailed` when the check fails or cannot run, and the run's report has the
    verdict. Explainer and subject may be names of registered ones. The run's seed, alpha, budget
    and device hold; without ``--xai`` their defaults.
    """
    from pytest_xai.plugin.fixtures import FixtureTools

    tools = FixtureTools(request)
    yield tools.check
    tools.close()
