"""Writes a report to a file, whole or not at all."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

__all__ = ["write"]


def write(path: Path, text: str) -> None:
    """Write a text to a file, whole or not at all; missing folders are made.

    Raises:
        OSError: the file cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.write(text)
    try:
        # A temporary file is readable by its owner alone; a report has the rights of any new file.
        umask = os.umask(0)
        os.umask(umask)
        Path(file.name).chmod(0o666 & ~umask)
        Path(file.name).replace(path)
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise
