"""Every error that pytest-xai raises.

XaiError
├── InvalidArgument (ValueError)       an argument is wrong; says what was expected
│   └── UnknownName                    a name is unknown; lists the known names
├── InvalidAttribution (ValueError)    an explainer returned something that is not a map
├── MissingDependency (ImportError)    an optional package is not installed
├── BrokenData                         a bundled file is missing or was changed
├── NotApplicable                      a check does not apply; says why
├── GuestError                         the model or the explainer raised
└── CheckFailed (AssertionError)       checks failed
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "BrokenData",
    "CheckFailed",
    "GuestError",
    "InvalidArgument",
    "InvalidAttribution",
    "MissingDependency",
    "NotApplicable",
    "UnknownName",
    "XaiError",
]


class XaiError(Exception):
    """Base class of all errors that pytest-xai raises."""


class InvalidArgument(XaiError, ValueError):
    """An argument is wrong. The message says what was expected."""

    @classmethod
    def of(cls, argument: str, *, got: object, expected: str) -> "InvalidArgument":
        """Build the error with the standard message: argument, value given, value expected."""
        return cls(f"{argument}: got {got}, expected {expected}")


class UnknownName(InvalidArgument):
    """A name is unknown. The message lists the known names."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> "UnknownName":
        """Build the error with the unknown name, the most similar name and all known names."""
        names = list(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return cls(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}")


class InvalidAttribution(XaiError, ValueError):
    """An explainer returned something that is not a usable map.

    Attributes:
        problem: "type", "shape" or "finite".
    """

    def __init__(self, message: str, *, problem: str) -> None:
        super().__init__(message)
        self.problem = problem


class MissingDependency(XaiError, ImportError):
    """An optional package is missing or cannot be imported. The message says what to install."""


class BrokenData(XaiError):
    """A bundled file is missing or was changed. Reinstall pytest-xai."""


class NotApplicable(XaiError):
    """A check does not apply to this explainer and subject. The message gives the reason."""


class GuestError(XaiError):
    """The model or the explainer raised an error. The message ends with the original error.

    Attributes:
        traceback: the traceback of the original error, as text.
    """

    def __init__(self, message: str, *, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


class CheckFailed(XaiError, AssertionError):
    """One or more checks failed. The message lists properties, figures and commands to repeat."""
