"""Resolves the options of a run.

The command line beats the ini file, which beats ``[tool.pytest_xai]`` of pyproject.toml, which
beats the default.
"""

import difflib
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_xai.core.run import Run
from pytest_xai.plugin.flags import TABLE
from pytest_xai.reporting import REPORTERS

__all__ = ["Options", "reproduce_command", "resolve"]

_STASH = pytest.StashKey["Options"]()


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of a run, resolved and valid.

    Attributes:
        run: seed, alpha, budget and all other settings that verdicts depend on.
        files: where reports are written, by the name of the reporter.
        given: keys that were set on the command line.
        table: ``subjects``, ``explainers`` and ``expected_failures`` of pyproject.toml.
        root: the folder of that file.
    """

    run: Run = field(default_factory=Run)
    files: Mapping[str, Path] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    table: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    root: Path = Path()


def resolve(config: pytest.Config) -> Options:
    """Read all places once and return the values that count.

    Raises:
        pytest.UsageError: a bad value or an unknown key: where, what came, what was expected.
    """
    if _STASH not in config.stash:
        config.stash[_STASH] = _resolve(config)
    return config.stash[_STASH]


def reproduce_command(node_id: str, options: Options, *, gate: bool = True) -> str:
    """Return the shell command that repeats one test with the run's settings.

    Args:
        node_id: of the test.
        options: of the run; options at their default are left out, except the seed.
        gate: whether the command needs ``--xai``.
    """
    run, default = options.run, Run()
    words = ["--xai"] * gate + [node_id, "--xai-seed", str(run.seed)]
    for key in ("alpha", "budget", "device"):
        value = getattr(run, key)
        if value != getattr(default, key):
            words += [f"--xai-{key}", str(value)]
    # Alpha and budget are shared among the selected checks; the ini file repeats itself.
    for key in ("select", "ignore"):
        if key in options.given:
            words += [f"--xai-{key}", ",".join(getattr(run, key))]
    words += ["--xai-demo"] * run.demo + ["--xai-gallery"] * run.gallery
    return " ".join(["pytest", *(_quoted(word) for word in words)])


def _resolve(config: pytest.Config) -> Options:
    table = _read_table(config.rootpath / "pyproject.toml")
    values: dict[str, Any] = {}
    files: dict[str, Path] = {}
    given = set()
    for option in TABLE:
        if option.key not in REPORTERS and option.key not in Run.__slots__:
            continue
        on_line = config.getoption(option.ini)
        if on_line is not None:
            given.add(option.key)
            value = option.parse(on_line, option.flag)
        elif raw := config.getini(option.ini):
            value = option.parse(raw, f"ini option {option.ini}")
        elif option.in_table and option.key in table:
            value = option.parse(table[option.key], f"[tool.pytest_xai] {option.key}")
        else:
            continue
        if option.key in REPORTERS:
            folder = config.invocation_params.dir if option.key in given else config.rootpath
            assert isinstance(value, Path)  # the option reads a path
            files[option.key] = folder / value
        else:
            values[option.key] = value
    registered = {key: table[key] for key in _REGISTERING if key in table}
    return Options(
        run=Run(**values),
        files=files,
        given=frozenset(given),
        table=registered,
        root=config.rootpath,
    )


def _read_table(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        table = (
            tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("pytest_xai", {})
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise pytest.UsageError(f"{path}: {error}") from None
    known = [option.key for option in TABLE if option.in_table] + [*_REGISTERING]
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise pytest.UsageError(
                f"[tool.pytest_xai]: unknown key {key!r}.{hint} Known: {', '.join(known)}"
            )
        if key in _REGISTERING and not isinstance(value, dict):
            raise pytest.UsageError(
                f"[tool.pytest_xai] {key}: got {value!r}, expected {_REGISTERING[key]}"
            )
    return dict(table)


_REGISTERING = {
    "subjects": 'a table like { digits = "my_model.xai:load_subject" }',
    "explainers": 'a table like { ig = "captum:IntegratedGradients" }',
    "expected_failures": 'a table like { "guided::mprt_cascading" = "the reason" }',
}


def _quoted(word: str) -> str:
    # An id needs no quotes for the shell, but reads as one thing with them.
    return f"'{word}'" if word.startswith("xai::") else shlex.quote(word)
