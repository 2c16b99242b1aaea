"""The options of a run, resolved: what was asked for, and where.

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

from pytest_xai.plugin.flags import TABLE

__all__ = ["Options", "reproduce_command", "resolve"]

_STASH = pytest.StashKey["Options"]()


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a run was asked for, resolved and valid.

    Attributes:
        demo: check the bundled subject and some of the gallery instead of what is registered.
        gallery: check the whole gallery on all bundled subjects instead.
        select: families or names of checks to keep; empty: all.
        ignore: families or names of checks to leave out.
        json: where the report goes; None: nowhere.
        seed: of all randomness, 0 to 2**63 - 1.
        alpha: chance of any wrong verdict in the run, between 0 and 1.
        budget: most model evaluations of the run; None: no bound.
        undecided: "fail", "warn" or "pass".
        device: where subjects run; None: where their inputs are.
        given: keys that were set on the command line.
        table: ``subjects``, ``explainers`` and ``expected_failures`` of pyproject.toml.
        root: the folder of that file.
    """

    demo: bool = False
    gallery: bool = False
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    json: Path | None = None
    seed: int = 0
    alpha: float = 0.001
    budget: int | None = None
    undecided: str = "warn"
    device: str | None = None
    given: frozenset[str] = frozenset()
    table: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    root: Path = Path()


def resolve(config: pytest.Config) -> Options:
    """Read all places once and give the values that count.

    Raises:
        pytest.UsageError: a bad value or an unknown key: where, what came, what was expected.
    """
    if _STASH not in config.stash:
        config.stash[_STASH] = _resolve(config)
    return config.stash[_STASH]


def reproduce_command(node_id: str, options: Options, *, gate: bool = True) -> str:
    """The shell command that repeats one test with the run's settings.

    Args:
        node_id: of the test.
        options: of the run; what is at its default is left out, but for the seed.
        gate: whether the command needs ``--xai``.
    """
    words = ["--xai"] * gate + [node_id, "--xai-seed", str(options.seed)]
    default = Options()
    for key in ("alpha", "budget", "device"):
        value = getattr(options, key)
        if value != getattr(default, key):
            words += [f"--xai-{key}", str(value)]
    # Alpha and budget are shared over what is selected; the ini file repeats itself.
    for key in ("select", "ignore"):
        if key in options.given:
            words += [f"--xai-{key}", ",".join(getattr(options, key))]
    words += ["--xai-demo"] * options.demo + ["--xai-gallery"] * options.gallery
    return " ".join(["pytest", *(_quoted(word) for word in words)])


def _resolve(config: pytest.Config) -> Options:
    table = _read_table(config.rootpath / "pyproject.toml")
    values: dict[str, Any] = {}
    given = set()
    for option in TABLE:
        if option.key not in Options.__slots__:
            continue
        on_line = config.getoption(option.ini)
        if on_line is not None:
            given.add(option.key)
            values[option.key] = option.parse(on_line, option.flag)
        elif raw := config.getini(option.ini):
            values[option.key] = option.parse(raw, f"ini option {option.ini}")
        elif option.in_table and option.key in table:
            values[option.key] = option.parse(table[option.key], f"[tool.pytest_xai] {option.key}")
    if "json" in values:
        folder = config.invocation_params.dir if "json" in given else config.rootpath
        values["json"] = folder / values["json"]
    registered = {key: table[key] for key in _REGISTERING if key in table}
    return Options(**values, given=frozenset(given), table=registered, root=config.rootpath)


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
