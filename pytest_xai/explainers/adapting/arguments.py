"""Values of a gallery explainer's options: checked when it is built, not in the middle of a run."""

import math
from collections.abc import Sequence

from pytest_xai.errors import InvalidArgument

__all__ = ["choice", "flag", "number", "text", "whole"]


def whole(name: str, value: object, *, least: int = 1) -> int:
    """An integer of at least ``least``.

    Raises:
        InvalidArgument: anything else, booleans included.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgument.of(name, got=repr(value), expected=f"an integer >= {least}")
    return value


def number(name: str, value: object) -> float:
    """A finite number.

    Raises:
        InvalidArgument: anything else, booleans included.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidArgument.of(name, got=repr(value), expected="a finite number")
    return float(value)


def flag(name: str, value: object) -> bool:
    """True or false.

    Raises:
        InvalidArgument: anything else, 0 and 1 included.
    """
    if not isinstance(value, bool):
        raise InvalidArgument.of(name, got=repr(value), expected="true or false")
    return value


def choice(name: str, value: object, known: Sequence[str]) -> str:
    """One of the known words.

    Raises:
        InvalidArgument: anything else.
    """
    if not isinstance(value, str) or value not in known:
        raise InvalidArgument.of(name, got=repr(value), expected=f"one of {', '.join(known)}")
    return value


def text(name: str, value: object) -> str:
    """A string with something in it.

    Raises:
        InvalidArgument: anything else.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgument.of(name, got=repr(value), expected="a non-empty string")
    return value
