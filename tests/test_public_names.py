"""The public names: one list, resolved late, and known to type checkers."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import pytest_xai as xai
from pytest_xai import protocol

# What design.md and the issues call by `xai.<name>`.
CONTRACT = {
    "Bench",
    "CheckFailed",
    "Cost",
    "Finding",
    "InvalidArgument",
    "InvalidAttribution",
    "NotApplicable",
    "Report",
    "Subject",
    "Verdict",
    "XaiError",
    "check",
    "check_explainer",
    "checks",
    "explainer",
    "explainers",
    "measures",
    "parametrize_with_checks",
}
SOURCE = ast.parse(Path(xai.__file__).read_text("utf-8"))


def names_for_type_checkers():
    """What the block under ``TYPE_CHECKING`` imports: name -> module it comes from."""
    found = {}
    for node in SOURCE.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                found |= {alias.asname or alias.name: statement.module for alias in statement.names}
    return found


def test_no_promised_name_is_missing_and_none_is_there_by_accident():
    assert set(xai.__all__) == CONTRACT


def test_the_lists_of_names_agree():
    assert list(xai.__all__) == sorted(xai.__all__)
    everything = {*xai.__all__, *xai._ASKED_FOR}
    assert names_for_type_checkers().keys() == everything == xai._HOMES.keys()


def test_type_checkers_are_told_the_home_that_a_name_is_resolved_from():
    for name, module in names_for_type_checkers().items():
        home = xai._HOMES[name]
        assert module == (f"pytest_xai.{home}" if home else "pytest_xai"), name


@pytest.mark.parametrize("name", [*xai.__all__, "strategies"])
def test_every_public_name_is_what_its_home_defines(name):
    value = getattr(xai, name)
    if inspect.ismodule(value):
        assert value.__name__ == f"pytest_xai.{name}"
    else:
        home = importlib.import_module(names_for_type_checkers()[name])
        assert value is getattr(home, name)
        assert name in home.__all__
        assert value.__module__ == home.__name__
    assert value.__doc__


def test_all_of_them_come_with_a_star():
    namespace = {}
    exec("from pytest_xai import *", namespace)  # noqa: S102
    assert set(xai.__all__) <= namespace.keys()


def test_the_version_is_that_of_the_installed_package():
    assert xai.__version__ == metadata.version("pytest-xai")


def test_dir_shows_the_public_names():
    assert dir(xai) == sorted([*xai.__all__, "strategies", "__version__"])


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError) as caught:
        xai.Subjekt  # noqa: B018
    assert str(caught.value) == "module 'pytest_xai' has no attribute 'Subjekt'"
    assert not hasattr(xai, "protocol_of_nothing")


def test_no_submodule_takes_the_place_of_a_public_name():
    submodules = {module.name for module in pkgutil.iter_modules(xai.__path__)}
    assert submodules & set(xai.__all__) == {"checks", "explainers", "measures"}


def test_the_decorator_stays_the_decorator_after_all_modules_were_imported():
    code = (
        "import importlib, pkgutil, pytest_xai as xai\n"
        "for module in pkgutil.walk_packages(xai.__path__, 'pytest_xai.'):\n"
        "    importlib.import_module(module.name)\n"
        "from pytest_xai import protocol, registry\n"
        "assert xai.explainer is protocol.explainer\n"
        "assert xai.check is registry.check\n"
        "print('same')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr
    assert callable(xai.explainer)
    assert xai.explainer is protocol.explainer
