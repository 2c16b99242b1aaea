"""Every error that pytest-xai raises.

XaiError
├── InvalidArgument (ValueError)       an argument is wrong: what came, what was expected
│   └── UnknownName                    a name that is not in its table: what there is
├── InvalidAttribution (ValueError)    an explainer returned something that is no map
├── MissingDependency (ImportError)    an optional package is not installed
├── BrokenData                         a bundled file is missing or not what it should be
├── NotApplicable                      a check has nothing to say here, and why
├── GuestError                         the model or the explainer raised
└── CheckFailed (AssertionError)       verdicts that fail the run
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
    """Base of all errors of pytest-xai: catch it to catch them all."""


class InvalidArgument(XaiError, ValueError):
    """An argument is wrong. Pass what the message says was expected."""

    @classmethod
    def of(cls, argument: str, *, got: object, expected: str) -> "InvalidArgument":
        """Build the one form that all such messages have."""
        return cls(f"{argument}: got {got}, expected {expected}")


class UnknownName(InvalidArgument):
    """A name is not in its table. Use one of those that the message lists."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> "UnknownName":
        """Name the unknown, the nearest known name, and all known names."""
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
    """An optional package is missing or does not import. Install what the message says."""


class BrokenData(XaiError):
    """A bundled file is missing or was changed. Install pytest-xai again."""


class NotApplicable(XaiError):
    """A check has nothing to say about this explainer and subject; the message is the reason."""


class GuestError(XaiError):
    """The model or the explainer raised. The message ends with the guest's own error.

    Attributes:
        traceback: the guest's traceback as text.
    """

    def __init__(self, message: str, *, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


class CheckFailed(XaiError, AssertionError):
    """Verdicts that fail the run. Read the message: property, figures, how to repeat it."""
