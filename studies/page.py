"""Where a benchmark's tables go: to the terminal, or between the marks of their page.

The marks are `<!-- table -->` and `<!-- end of table -->`; what stands around them is written by
hand.
"""

import argparse
from pathlib import Path

__all__ = ["page_asked_for", "print_or_write", "put_into"]


def page_asked_for(doc: str, *, several: bool = True) -> Path | None:
    """The page that `--write` names; None: there is none, and the terminal is meant.

    For scripts that have no other option.

    Args:
        doc: of the script, whose first line `--help` shows.
        several: whether the page has more than one table, which `--help` says.
    """
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    tables = "tables are" if several else "table is"
    parser.add_argument("--write", type=Path, help=f"the page whose {tables} replaced")
    page: Path | None = parser.parse_args().write
    return page


def print_or_write(page: Path | None, made: str) -> None:
    """Print what was made, or write it between the marks of a page."""
    if page is None:
        print(made)
    else:
        put_into(page, made)


def put_into(page: Path, made: str) -> None:
    """Replace what stands between the marks of a page."""
    text = page.read_text("utf-8")
    head, _, rest = text.partition("<!-- table -->\n")
    _, _, tail = rest.partition("<!-- end of table -->")
    new = page.with_suffix(".new")
    new.write_text(f"{head}<!-- table -->\n\n{made}\n\n<!-- end of table -->{tail}", "utf-8")
    new.replace(page)
