"""The folders of the package are its layers; the linter of imports holds them to their order."""

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_xai"
PAGE = ROOT / "docs" / "architecture.md"


@pytest.fixture(scope="module")
def layers():
    """The names of the layers in pyproject.toml, from the top."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    first = settings["tool"]["importlinter"]["contracts"][0]
    assert first["exhaustive"]
    return first["layers"]


def test_the_top_of_the_package_has_few_files():
    assert len(list(PACKAGE.glob("*.py"))) <= 6


def test_the_page_shows_the_layers_in_the_order_that_the_linter_enforces(layers):
    table = PAGE.read_text("utf-8").partition("\n| layer |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `(\w+)", table, re.MULTILINE)
    assert named == layers


def test_tests_mirror_the_folders(layers):
    folders = {name for name in layers if (PACKAGE / name).is_dir()}
    assert folders <= {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
