"""Optional packages: what to install is said where one is missing."""

import json.decoder
import sys
from importlib import metadata

import pytest

from pytest_xai.core.optional import require
from pytest_xai.errors import MissingDependency


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package ``guest`` whose import runs the given code."""

    def make(code):
        (tmp_path / "guest.py").write_text(code, "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "guest", raising=False)

    return make


def test_returns_the_module_itself():
    assert require("json.decoder", extra="captum") is json.decoder


def test_a_missing_package_names_the_extra_that_brings_it():
    with pytest.raises(MissingDependency) as caught:
        require("no_such_package.deep.inside", extra="captum")
    assert str(caught.value) == (
        "no_such_package cannot be imported (No module named 'no_such_package'). "
        'Install it: pip install "pytest-xai[captum]"'
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_missing_package_without_an_extra_is_named_itself():
    with pytest.raises(MissingDependency, match=r"Install it: pip install no_such_package$"):
        require("no_such_package.deep")


def test_a_package_that_lacks_another_one_says_which(package):
    package("import what_guest_needs")
    with pytest.raises(MissingDependency, match=r"^guest .*\(No module named 'what_guest_needs'\)"):
        require("guest", extra="zennit")


def test_torchvision_of_another_torch_is_told_how_to_be_replaced(package, monkeypatch):
    package("raise RuntimeError('operator torchvision::nms does not exist')")
    found = {"torch": "2.6.0", "torchvision": "0.11.0"}
    monkeypatch.setattr(metadata, "version", found.__getitem__)
    with pytest.raises(MissingDependency) as caught:
        require("guest", extra="zennit")
    message = str(caught.value)
    assert message.startswith("guest cannot be imported: torchvision 0.11.0 was not built for ")
    assert "torch 2.6.0 (operator torchvision::nms does not exist)" in message
    assert "pip install --force-reinstall torch torchvision" in message
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_broken_torchvision_without_metadata_is_reported_all_the_same(package, monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    package("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(MissingDependency, match=r"torchvision not installed was not built for"):
        require("guest")


def test_other_errors_of_a_package_are_its_own(package):
    package("raise RuntimeError('no licence found')")
    with pytest.raises(RuntimeError, match="no licence found") as caught:
        require("guest")
    assert not isinstance(caught.value, MissingDependency)
