"""The options of the gate: one table that the command line, the ini file and pyproject.toml share.

Every run of pytest loads this module: it imports nothing that pytest has not imported already, and
makes no dataclass, which would take longer than all the rest.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_xai.reporting import REPORTERS

__all__ = ["MARKERS", "TABLE", "Flag", "add_options", "is_active", "is_listing"]

# Registered with or without --xai. The families are those of `pytest_xai.registry.FAMILIES`, which
# takes longer to import; a test compares the two.
MARKERS = (
    "xai: checks an explanation; skipped without --xai",
    "contract: a check of pytest-xai on basic requirements (shape, finite values, no side effects)",
    "axiomatic: a check of pytest-xai on an axiom that an explainer claims",
    "randomisation: a check of pytest-xai with re-initialised weights or random labels",
    "robustness: a check of pytest-xai with slightly changed inputs",
    "adversarial: a check of pytest-xai with adversarial inputs",
    "faithfulness: a check of pytest-xai on whether the map shows what the model uses",
    "localisation: a check of pytest-xai on whether the map lies on the object",
    "complexity: a check of pytest-xai on how concentrated a map is",
    "slow: takes long",
    "gpu: needs a GPU",
)
_POLICIES = ("fail", "warn", "pass")
_LARGEST_SEED = 2**63 - 1


class Flag(NamedTuple):
    """One option: ``--xai-seed`` has the ini twin ``xai_seed`` and the table's key ``seed``."""

    flag: str
    help: str
    expected: str
    read: Callable[[object], object]
    metavar: str | None = None
    repeats: bool = False
    in_table: bool = True

    @property
    def ini(self) -> str:
        """Its name in the ini file, and among the parsed options."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def key(self) -> str:
        """Its name in ``[tool.pytest_xai]`` of pyproject.toml."""
        return self.ini.removeprefix("xai_")

    def parse(self, value: object, place: str) -> object:
        """Read a value.

        Raises:
            pytest.UsageError: it is wrong: where it came from, what came, what was expected.
        """
        try:
            return self.read(value)
        except (TypeError, ValueError):
            raise pytest.UsageError(f"{place}: got {value!r}, expected {self.expected}") from None


def add_options(parser: pytest.Parser) -> None:
    """Declare every option of the table on the command line and in the ini file."""
    group = parser.getgroup("xai", "explanations of image classifiers (pytest-xai)")
    for option in TABLE:
        if option.metavar is None:
            group.addoption(option.flag, action="store_const", const=True, help=option.help)
        else:
            action = "append" if option.repeats else "store"
            group.addoption(option.flag, action=action, metavar=option.metavar, help=option.help)
        parser.addini(option.ini, f"{option.help} (as {option.flag})", type="string", default=None)


def is_active(config: pytest.Config) -> bool:
    """Whether the gate runs: ``--xai``, or a demo, which implies it."""
    return any(_switched_on(config, flag) for flag in ("--xai", "--xai-demo", "--xai-gallery"))


def is_listing(config: pytest.Config) -> bool:
    """Whether the run only prints checks and gallery."""
    return _switched_on(config, "--xai-list")


def _switched_on(config: pytest.Config, flag: str) -> bool:
    option = next(option for option in TABLE if option.flag == flag)
    if config.getoption(option.ini):
        return True
    raw = config.getini(option.ini)
    return bool(raw) and bool(option.parse(raw, f"ini option {option.ini}"))


# ----------------------------------------------------------------------------------- reading values


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def _names(value: object) -> tuple[str, ...]:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise TypeError
    words = [word.strip() for line in lines for word in line.replace("\n", ",").split(",")]
    names = tuple(dict.fromkeys(word for word in words if word))
    if not names:
        raise ValueError
    return names


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


def _path(value: object) -> Path:
    return Path(_text(value))


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError
    return int(value)


def _seed(value: object) -> int:
    seed = _integer(value)
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError
    return seed


def _budget(value: object) -> int:
    budget = _integer(value)
    if budget < 1:
        raise ValueError
    return budget


def _alpha(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    alpha = float(value)
    if not (math.isfinite(alpha) and 0 < alpha < 1):
        raise ValueError
    return alpha


def _policy(value: object) -> str:
    if value not in _POLICIES:
        raise ValueError
    return str(value)


_NAMES = "families or names of checks, separated by commas"

TABLE = (
    Flag(
        flag="--xai",
        help="check the registered explainers; without it nothing of pytest-xai runs",
        expected="true or false",
        read=_switch,
        in_table=False,
    ),
    Flag(
        flag="--xai-demo",
        help="check the bundled subject and gallery; implies --xai",
        expected="true or false",
        read=_switch,
        in_table=False,
    ),
    Flag(
        flag="--xai-gallery",
        help="check the whole gallery on all bundled subjects; implies --xai-demo",
        expected="true or false",
        read=_switch,
        in_table=False,
    ),
    Flag(
        flag="--xai-list",
        help="print the checks and the gallery of explainers, then exit",
        expected="true or false",
        read=_switch,
        in_table=False,
    ),
    Flag(
        flag="--xai-select",
        help="run only these families or checks, or `slow` for the slow checks, which are not run "
        "otherwise; separated by commas, repeatable",
        expected=_NAMES,
        read=_names,
        metavar="NAMES",
        repeats=True,
    ),
    Flag(
        flag="--xai-ignore",
        help="leave out these families or checks; separated by commas, repeatable",
        expected=_NAMES,
        read=_names,
        metavar="NAMES",
        repeats=True,
    ),
    # One option for every reporter that writes to a file, such as --xai-json.
    *(
        Flag(
            flag=f"--xai-{name}",
            help=reporter.help,
            expected="the path of a file",
            read=_path,
            metavar="PATH",
        )
        for name, reporter in REPORTERS.items()
        if reporter.writes
    ),
    Flag(
        flag="--xai-seed",
        help="seed of all random numbers (default: 0)",
        expected=f"an integer from 0 to {_LARGEST_SEED}",
        read=_seed,
        metavar="N",
    ),
    Flag(
        flag="--xai-alpha",
        help="probability that any sampled verdict of the run is wrong (default: 0.001)",
        expected="a number above 0 and below 1",
        read=_alpha,
        metavar="A",
    ),
    Flag(
        flag="--xai-budget",
        help="largest number of model evaluations of the run, shared by declared cost "
        "(default: no limit)",
        expected="an integer of at least 1",
        read=_budget,
        metavar="N",
    ),
    Flag(
        flag="--xai-undecided",
        help="how undecided verdicts affect the exit status (default: warn)",
        expected=f"one of {', '.join(_POLICIES)}",
        read=_policy,
        metavar="{fail,warn,pass}",
    ),
    Flag(
        flag="--xai-device",
        help="device on which subjects run, e.g. cuda:0 (default: the device of their inputs)",
        expected="the name of a torch device",
        read=_text,
        metavar="DEV",
    ),
)
