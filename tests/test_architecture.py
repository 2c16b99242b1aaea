"""Imports point up the table of docs/architecture.md, and modules do not import each other."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_xai"
PREFIX = "pytest_xai."


def layers() -> dict[str, int]:
    """Place in the table, from the top, of every module and of every package (with a slash)."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = page.partition("\n| layer | modules |")[2].partition("\n\n")[0]
    rows = [line.split("|")[2] for line in table.splitlines()[2:]]
    return {name: place for place, row in enumerate(rows) for name in re.findall(r"`(.+?)`", row)}


def entry_of(module: str) -> str:
    """What the table calls a module such as ``checks.axiomatic.linearity``: ``checks/``."""
    head = module.partition(".")[0]
    return f"{head}/" if head and (PACKAGE / head).is_dir() else head


def imports_of(source: str) -> set[str]:
    """Modules of ours that a source imports, anywhere in it, without the leading package name.

    The root of the package, which gathers names from everywhere, is the empty name.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full, so that they can be read here"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if is_module(name)}
            found |= modules
            if len(modules) < len(inner):
                found.add(node.module)
    ours = {f"{name}." for name in found if f"{name}.".startswith(PREFIX)}
    return {name.removeprefix(PREFIX).rstrip(".") for name in ours}


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return name.startswith(PREFIX) and (path.is_dir() or path.with_suffix(".py").is_file())


def modules() -> dict[str, set[str]]:
    """Every module of the package but the root with what it imports of ours."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            graph[name] = imports_of(path.read_text("utf-8"))
    return graph


def pointing_down(graph: dict[str, set[str]]) -> list[str]:
    place = layers()
    place[""] = len(place)
    return [
        f"{module} imports {target or 'the root'}"
        for module, targets in sorted(graph.items())
        for target in sorted(targets)
        if place[entry_of(target)] > place[entry_of(module)]
    ]


def test_the_table_has_every_module_and_no_other() -> None:
    assert {entry_of(module) for module in modules()} == layers().keys()


def test_imports_point_up() -> None:
    assert pointing_down(modules()) == []


PLANTED = {
    "from pytest_xai.bench import Bench": "bench",
    "import pytest_xai.bench": "bench",
    "from pytest_xai import bench": "bench",
    "def late():\n    from pytest_xai.bench import Bench": "bench",
    "if TYPE_CHECKING:\n    from pytest_xai.bench import Bench": "bench",
    "from pytest_xai.checks.contract.shape import shape": "checks.contract.shape",
    "from pytest_xai import Subject": "",
    "import pytest_xai as xai": "",
}


@pytest.mark.parametrize("source, target", PLANTED.items(), ids=list(PLANTED))
def test_an_import_that_points_down_is_seen(source: str, target: str) -> None:
    planted = imports_of(source)
    assert planted == {target}
    assert pointing_down({"errors": planted}) == [f"errors imports {target or 'the root'}"]


@pytest.mark.parametrize("source", ["from .bench import Bench", "from . import bench"])
def test_an_import_that_cannot_be_read_is_refused(source: str) -> None:
    with pytest.raises(AssertionError, match="written in full"):
        imports_of(source)


def test_what_is_not_ours_does_not_count() -> None:
    assert imports_of("import torch, pytest_xai_other\nfrom pytest import mark") == set()


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that need each other, or none; that a package gathers its modules does not count."""
    needs = {
        module: {target for target in targets if not module.startswith(f"{target}.")}
        for module, targets in graph.items()
    }
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_need_each_other() -> None:
    assert circle(modules()) == []


def test_modules_that_need_each_other_are_seen() -> None:
    assert set(circle({"bench": {"calls"}, "calls": {"seeds", "bench"}})) == {"bench", "calls"}
