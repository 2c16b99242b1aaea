"""Validation of explainers' options, done when an explainer is built and not during a run."""

import math
from collections.abc import Sequence

from pytest_xai.errors import InvalidArgument

__all__ = ["choice", "flag", "number", "text", "whole"]


def whole(name: str, value: object, *, least: int = 1) -> int:
    """Return the value if it is an integer of at least ``least``.

    Raises:
        InvalidArgument: it is anything else, such as a boolean.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgument.of(name, got=repr(value), expected=f"an integer >= {least}")
    return value


def number(name: str, value: object) -> float:
    """Return the value as a float if it is a finite number.

    Raises:
        InvalidArgument: it is anything else, such as a boolean.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidArgument.of(name, got=repr(value), expected="a finite number")
    return float(value)


def flag(name: str, value: object) -> bool:
    """Return the value if it is a boolean.

    Raises:
        InvalidArgument: it is anything else, such as 0 or 1.
    """
    if not isinstance(value, bool):
        raise InvalidArgument.of(name, got=repr(value), expected="true or false")
    return value


def choice(name: str, value: object, known: Sequence[str]) -> str:
    """Return the value if it is one of the known words.

    Raises:
        InvalidArgument: it is anything else.
    """
    if not isinstance(value, str) or value not in known:
        raise InvalidArgument.of(name, got=repr(value), expected=f"one of {', '.join(known)}")
    return value


def text(name: str, value: object) -> str:
    """Return the value if it is a non-empty string.

    Raises:
        InvalidArgument: it is anything else.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgument.of(name, got=repr(value), expected="a non-empty string")
    return value
