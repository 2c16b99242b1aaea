"""Prints the tables of a study, or writes them between the marks of their page.

The marks are `<!-- table -->` and `<!-- end of table -->`. The text around them is written by hand.
"""

import argparse
from pathlib import Path

__all__ = ["page_asked_for", "print_or_write", "put_into"]


def page_asked_for(doc: str, *, several: bool = True) -> Path | None:
    """Return the page that `--write` names; None means that the tables are printed.

    For scripts that have no other option.

    Args:
        doc: docstring of the script; `--help` shows its first line.
        several: whether the page has more than one table, for the text of `--help`.
    """
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    tables = "tables are" if several else "table is"
    parser.add_argument("--write", type=Path, help=f"the page whose {tables} replaced")
    page: Path | None = parser.parse_args().write
    return page


def print_or_write(page: Path | None, made: str) -> None:
    """Print the tables, or write them between the marks of a page."""
    if page is None:
        print(made)
    else:
        put_into(page, made)


def put_into(page: Path, made: str) -> None:
    """Replace the text between the marks of a page."""
    text = page.read_text("utf-8")
    head, _, rest = text.partition("<!-- table -->\n")
    _, _, tail = rest.partition("<!-- end of table -->")
    new = page.with_suffix(".new")
    new.write_text(f"{head}<!-- table -->\n\n{made}\n\n<!-- end of table -->{tail}", "utf-8")
    new.replace(page)
