"""Prints the checks and the explainers of the gallery for ``--xai-list``."""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from pytest_xai.explainers.adapting.entry import KINDS
from pytest_xai.reporting import plain

if TYPE_CHECKING:
    from pytest_xai.explainers import GalleryEntry, Method
    from pytest_xai.explainers.adapting.entry import Claim
    from pytest_xai.registry import Check

__all__ = ["describe_checks", "describe_gallery", "describe_methods", "print_listing"]

# A described thing: its name, then labels with their texts.
Entry = tuple[str, Sequence[tuple[str, str]]]


def print_listing(file: TextIO | None = None) -> None:
    """Print checks and gallery: as tables on a terminal, as plain blocks into a pipe.

    Args:
        file: where to print; None means standard output.
    """
    from pytest_xai import checks, explainers

    file = file or sys.stdout
    for title, entries in (
        ("Checks", describe_checks(checks.all())),
        ("Gallery", describe_gallery(explainers.describe())),
        ("Methods, by their names alone", describe_methods(explainers.methods())),
    ):
        text = _tables(title, entries) if file.isatty() else _blocks(title, entries)
        file.write(text)


def describe_checks(checks: Iterable["Check"]) -> list[Entry]:
    """Return name, family, scope, question, claim, figure, limit, source and cost of each check."""
    return [
        (
            check.name,
            [
                ("family", ", ".join([check.family, check.scope, *check.marks])),
                ("question", check.question),
                ("claim", check.claim),
                ("figure", _figure(check)),
                ("limit", f"{check.direction} {check.limit_source}"),
                ("source", check.source),
                ("cost", f"{check.cost} per image"),
            ],
        )
        for check in checks
    ]


def describe_gallery(gallery: Iterable["GalleryEntry"]) -> list[Entry]:
    """Return name, summary, library, options, inputs, claims, source and cost of each explainer."""
    return [
        (
            entry.spec,
            [
                ("what", entry.summary),
                ("library", entry.traits.library or "unknown"),
                ("options", ", ".join(f"{k}={v!r}" for k, v in entry.options.items()) or "none"),
                (
                    "explains",
                    ", ".join(kind + "s" for kind in KINDS.values() if kind in entry.inputs),
                ),
                ("claims", "; ".join(map(_promise, entry.claims)) or "none"),
                ("source", entry.traits.source or "none"),
                ("cost", f"{entry.traits.cost or 'unknown'} per image"),
            ],
        )
        for entry in gallery
    ]


def describe_methods(methods: Mapping[str, "Method"]) -> list[Entry]:
    """Return name, chosen implementation and the reason for it, of each method."""
    return [
        (name, [("is", method.spec), ("because", method.reason)])
        for name, method in methods.items()
    ]


def _figure(check: "Check") -> str:
    """Return the name of the figure with its unit."""
    name = check.figure_name or "not named"
    unit = check.labels["unit"]
    return f"{name} ({unit})" if unit else name


def _promise(claim: "Claim") -> str:
    """A claim with its conditions on options and model, and its paper."""
    conditions = [f"{name}={value!r}" for name, value in claim.when.items()]
    conditions += [claim.condition] if claim.condition else []
    given = f" if {' and '.join(conditions)}" if conditions else ""
    return f"{claim.check}{given} ({claim.source})"


def _blocks(title: str, entries: Sequence[Entry]) -> str:
    lines = [title, ""]
    for name, fields in entries:
        lines += [name, *(f"    {label}: {text}" for label, text in fields), ""]
    return plain("\n".join(lines)) + "\n"


def _tables(title: str, entries: Sequence[Entry]) -> str:
    from rich.table import Table
    from rich.text import Text

    from pytest_xai.core.run import Terminal
    from pytest_xai.reporting.terminal import console_of

    console = console_of(Terminal(width=shutil.get_terminal_size().columns, colour=True))
    table = Table(title=Text(title, style="bold"), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for name, fields in entries:
        for number, (label, text) in enumerate(fields):
            first = Text(name, style="bold") if number == 0 else Text()
            table.add_row(
                first,
                Text(label, style="dim"),
                Text(plain(text)),
                end_section=number == len(fields) - 1,
            )
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]  # a StringIO
