"""Options of attacks, looked at before anything is run."""

import math

from pytest_xai.errors import InvalidArgument

__all__ = ["require_count", "require_one_of", "require_share"]


def require_share(value: float, argument: str) -> None:
    """Refuse what is no share of the range of the inputs.

    Raises:
        InvalidArgument: it is not above 0 and finite.
    """
    if not (value > 0 and math.isfinite(value)):
        expected = "a finite share of the range of the inputs above 0"
        raise InvalidArgument.of(argument, got=repr(value), expected=expected)


def require_count(value: int, argument: str, *, least: int = 1) -> None:
    """Refuse what is no number of something.

    Raises:
        InvalidArgument: it is no integer from ``least`` on.
    """
    if not isinstance(value, int) or value < least:
        raise InvalidArgument.of(argument, got=repr(value), expected=f"an integer, {least} or more")


def require_one_of(value: object, argument: str, known: tuple[object, ...]) -> None:
    """Refuse what is not in a list.

    Raises:
        InvalidArgument: it is not, and what is.
    """
    if value not in known:
        expected = " or ".join(repr(each) for each in known)
        raise InvalidArgument.of(argument, got=repr(value), expected=expected)
