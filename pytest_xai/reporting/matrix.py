"""The matrix explainer x check of one subject, cut into tables that fit the terminal."""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from rich.box import Box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pytest_xai.core.verdict import Verdict
from pytest_xai.reporting import plain

__all__ = ["WORDS", "matrix"]

# Capital letters mark what fails the run.
WORDS = {
    "passed": ("pass", "green"),
    "failed": ("FAIL", "bold red"),
    "undecided": ("undecided", "yellow"),
    "not_applicable": ("n/a", "dim"),
    "error": ("ERROR", "bold red"),
    "xfailed": ("xfail", "yellow"),
    "xpassed": ("XPASS", "bold red"),
}

# Lines of ASCII: a terminal or a log of any encoding shows them.
_BOX = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_WIDEST_LINE = 11
_WIDEST_NAME = 28


def matrix(
    verdicts: Sequence[Verdict], checks: Iterable[str], *, console: Console
) -> list[tuple[str, Table]]:
    """Arrange the verdicts on one subject in tables that are no wider than the console.

    Args:
        verdicts: on one subject; explainers stand in the order in which they come.
        checks: names of checks in the order of the columns; checks without a verdict are left out.
        console: measures the tables.

    Returns:
        Titles and tables, of whole families where they fit; the title names the families.
    """
    family = {verdict.check: verdict.family for verdict in verdicts}
    columns = [name for name in dict.fromkeys([*checks, *family]) if name in family]
    families: dict[str, list[str]] = {}
    for name in columns:
        families.setdefault(family[name], []).append(name)
    groups: list[list[str]] = []
    for members in families.values():
        if groups and _fits(verdicts, groups[-1] + members, console):
            groups[-1] = groups[-1] + members
            continue
        groups.append([])
        for name in members:
            if groups[-1] and not _fits(verdicts, [*groups[-1], name], console):
                groups.append([])
            groups[-1] = [*groups[-1], name]
    titled: list[tuple[str, Table]] = []
    seen: set[str] = set()
    for group in groups:
        members = list(dict.fromkeys(family[name] for name in group))
        names = [f"{name} (continued)" if name in seen else name for name in members]
        seen.update(members)
        titled.append((", ".join(names), _table(verdicts, group)))
    return titled


def _fits(verdicts: Sequence[Verdict], columns: Sequence[str], console: Console) -> bool:
    wide = console.options.update(max_width=10_000)
    return Measurement.get(console, wide, _table(verdicts, columns)).maximum <= console.width


def _table(verdicts: Sequence[Verdict], columns: Sequence[str]) -> Table:
    # Of several verdicts on the same explainer and check, the one that fails the run is shown.
    cells = {
        (each.explainer, each.check): each for each in sorted(verdicts, key=attrgetter("fails_run"))
    }
    table = Table(box=_BOX, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(Text("explainer"), vertical="bottom", overflow="fold", max_width=_WIDEST_NAME)
    for name in columns:
        table.add_column(Text(_broken(name)), vertical="bottom", no_wrap=True)
    for explainer in dict.fromkeys(verdict.explainer for verdict in verdicts):
        found = [cells.get((explainer, name)) for name in columns]
        table.add_row(
            Text(plain(explainer)), *(Text() if each is None else _cell(each) for each in found)
        )
    return table


def _cell(verdict: Verdict) -> Text:
    word, style = WORDS[verdict.outcome]
    return Text(word, style=style) if verdict.asserted else Text(f"({word.lower()})", style="dim")


def _broken(name: str) -> str:
    """The name over several short lines, broken after underscores, none of its letters lost."""
    lines = [""]
    for part in name.replace("_", "_ ").split():
        if lines[-1] and len(lines[-1]) + len(part) > _WIDEST_LINE:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
