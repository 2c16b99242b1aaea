"""Validation of the options of attacks."""

import math

from pytest_xai.errors import InvalidArgument

__all__ = ["require_count", "require_one_of", "require_share"]


def require_share(value: float, argument: str) -> None:
    """Require a share of the range of the inputs.

    Raises:
        InvalidArgument: the value is not finite or not above 0.
    """
    if not (value > 0 and math.isfinite(value)):
        expected = "a finite share of the range of the inputs above 0"
        raise InvalidArgument.of(argument, got=repr(value), expected=expected)


def require_count(value: int, argument: str, *, least: int = 1) -> None:
    """Require an integer of at least ``least``.

    Raises:
        InvalidArgument: the value is not an integer or too small.
    """
    if not isinstance(value, int) or value < least:
        raise InvalidArgument.of(argument, got=repr(value), expected=f"an integer, {least} or more")


def require_one_of(value: object, argument: str, known: tuple[object, ...]) -> None:
    """Require one of the known values.

    Raises:
        InvalidArgument: the value is unknown; the message lists the known ones.
    """
    if value not in known:
        expected = " or ".join(repr(each) for each in known)
        raise InvalidArgument.of(argument, got=repr(value), expected=expected)
