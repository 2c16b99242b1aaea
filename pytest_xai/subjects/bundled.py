"""Locating and reading bundled files, whose SHA-256 is verified.

Each folder has a record, ``<folder name>.json``, with the SHA-256 of every other file.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from pytest_xai.errors import BrokenData

__all__ = ["find_folder", "read_record", "read_tensors"]

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel has the files inside the package, a checkout next to it. The wheel's location comes first,
# because folders next to an installed package belong to other packages.
_PLACES = (_PACKAGE / "fixtures", _PACKAGE.parent / "fixtures")
_ADVICE = (
    "Install pytest-xai again; in a clone, restore or regenerate the file (fixtures/README.md)."
)


def find_folder(name: str) -> Path:
    """Find a bundled folder, in an installed package or in a checkout.

    Args:
        name: the folder's name, e.g. ``"digits"``.

    Raises:
        BrokenData: there is no folder of this name with its record.
    """
    for place in _PLACES:
        if (place / name / f"{name}.json").is_file():
            return place / name
    places = " nor ".join(str(place / name) for place in _PLACES)
    raise BrokenData(f"the bundled {name} are missing: neither {places} has {name}.json. {_ADVICE}")


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a bundled folder.

    Raises:
        BrokenData: the record is missing, or is not a JSON object with the SHA-256 of the files.
    """
    path = folder / f"{folder.name}.json"
    try:
        record = json.loads(_read(path))
    except ValueError as error:
        raise BrokenData(f"{path} is not valid JSON: {error}. {_ADVICE}") from error
    if not isinstance(record, dict) or not isinstance(record.get("sha256"), dict):
        raise BrokenData(f"{path} is not a valid record: it has no sha256 of the files. {_ADVICE}")
    return record


def read_tensors(folder: Path, file: str) -> dict[str, Tensor]:
    """Read a bundled safetensors file after a check of its SHA-256.

    Args:
        folder: the folder that `find_folder` returned.
        file: name of the file in it, e.g. ``"model.safetensors"``.

    Returns:
        A new tensor for each name in the file, on the CPU.

    Raises:
        BrokenData: the file or its record is missing, or the SHA-256 differs.
    """
    expected = read_record(folder)["sha256"].get(file)
    content = _read(folder / file)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BrokenData(
            f"{folder / file} differs from the bundled file: "
            f"its sha256 is {found}, the record says {expected}. {_ADVICE}"
        )
    return safetensors.torch.load(content)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenData(f"{path} cannot be read: {error.strerror}. {_ADVICE}") from error
