"""Errors say what was wrong, what came and what there is instead."""

import inspect
import re

import pytest

from pytest_xai import errors

CLASSES = {name: getattr(errors, name) for name in errors.__all__}
BUILT_IN = {
    "InvalidArgument": ValueError,
    "UnknownName": ValueError,
    "InvalidAttribution": ValueError,
    "MissingDependency": ImportError,
    "CheckFailed": AssertionError,
}


def test_every_error_of_the_module_is_public():
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    defined = {name for name, value in classes.items() if issubclass(value, Exception)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_one_base_catches_all_and_the_built_in_kind_fits(name):
    assert issubclass(CLASSES[name], errors.XaiError)
    kinds = {ValueError, ImportError, AssertionError}
    assert {kind for kind in kinds if issubclass(CLASSES[name], kind)} == (
        {BUILT_IN[name]} if name in BUILT_IN else set()
    )


def test_the_tree_at_the_top_is_the_hierarchy():
    drawn = dict(re.findall(r"^[│ ]*[├└]── (\w+)(?: \((\w+)\))?", errors.__doc__, re.MULTILINE))
    assert set(drawn) == set(errors.__all__) - {"XaiError"}
    for name, kind in drawn.items():
        bases = [base.__name__ for base in CLASSES[name].__bases__]
        assert bases == (["InvalidArgument"] if name == "UnknownName" else bases)
        assert bases[1:] == ([kind] if kind else []), name


def test_an_invalid_argument_names_it_what_came_and_what_was_expected():
    error = errors.InvalidArgument.of("bounds", got="(1, 0)", expected="low < high")
    assert type(error) is errors.InvalidArgument
    assert str(error) == "bounds: got (1, 0), expected low < high"


@pytest.mark.parametrize(
    "name, known, message",
    [
        ("finit", ["shape", "finite"], "'finit'. Did you mean 'finite'? Known: shape, finite"),
        ("xyz", ["shape", "finite"], "'xyz'. Known: shape, finite"),
        ("xyz", [], "'xyz'. Known: none"),
        ("shap", iter(["shape"]), "'shap'. Did you mean 'shape'? Known: shape"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_and_with_all(name, known, message):
    error = errors.UnknownName.among("check", name, known)
    assert type(error) is errors.UnknownName
    assert str(error) == f"unknown check {message}"


def test_an_invalid_attribution_says_which_kind_of_problem_it_is():
    error = errors.InvalidAttribution("NaN in it", problem="finite")
    assert (str(error), error.problem) == ("NaN in it", "finite")


def test_the_error_of_a_guest_keeps_its_traceback_out_of_the_message():
    error = errors.GuestError("explainer 'x' raised KeyError: 1", traceback="Traceback ...")
    assert str(error) == "explainer 'x' raised KeyError: 1"
    assert error.traceback == "Traceback ..."
