"""Reporters: each is one module with a function from verdicts and a run to an output.

`REPORTERS` is the table of them. A reporter that writes to a file has an option of its own, such as
``--xai-json PATH``. Every run of pytest imports this module, so it imports nothing slow.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_xai.core.run import Run
    from pytest_xai.core.verdict import Verdict

__all__ = ["REPORTERS", "Render", "Reporter", "plain"]

Render = Callable[["Sequence[Verdict]", "Run"], str]


class Reporter(NamedTuple):
    """One way to report a run.

    Attributes:
        place: "module:function" of a function (verdicts, run) -> text, imported when it is used.
            The verdicts come in the order of the plan. An empty text is not shown.
        help: of the option ``--xai-<name> PATH``.
        writes: whether the text goes to the file that the option names; otherwise it is shown
            on the terminal at the end of the run.
    """

    place: str
    help: str = ""
    writes: bool = True

    def load(self) -> Render:
        """Import the function."""
        module, _, function = self.place.partition(":")
        render: Render = getattr(importlib.import_module(module), function)
        return render


REPORTERS: dict[str, Reporter] = {
    "terminal": Reporter("pytest_xai.reporting.terminal:report", writes=False),
    "json": Reporter("pytest_xai.reporting.json_report:report", "write all verdicts to this file"),
}


def plain(text: str) -> str:
    """Return the text with control characters escaped: no message steers a terminal."""
    return "".join(
        char if char == "\n" or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text.replace("\t", "    ")
    )
