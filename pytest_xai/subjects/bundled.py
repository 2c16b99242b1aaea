"""Files that come with pytest-xai: where they are, and reading them only if they are unchanged.

A folder of them has a record, ``<folder name>.json``, that gives the SHA-256 of each other file.
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
# A wheel has the files inside the package, a checkout beside it. The wheel's place comes first:
# beside an installed package lie other people's folders.
_PLACES = (_PACKAGE / "fixtures", _PACKAGE.parent / "fixtures")
_ADVICE = (
    "Install pytest-xai again; in a clone, restore the file or make it anew (fixtures/README.md)."
)


def find_folder(name: str) -> Path:
    """Find a bundled folder, in an installed package or in a checkout.

    Args:
        name: the folder's name, e.g. ``"digits"``.

    Raises:
        BrokenData: no place has a folder of this name with its record.
    """
    for place in _PLACES:
        if (place / name / f"{name}.json").is_file():
            return place / name
    places = " nor ".join(str(place / name) for place in _PLACES)
    raise BrokenData(f"the bundled {name} are missing: neither {places} has {name}.json. {_ADVICE}")


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a bundled folder.

    Raises:
        BrokenData: the record is missing, or is no JSON object with the files' SHA-256.
    """
    path = folder / f"{folder.name}.json"
    try:
        record = json.loads(_read(path))
    except ValueError as error:
        raise BrokenData(f"{path} is no JSON: {error}. {_ADVICE}") from error
    if not isinstance(record, dict) or not isinstance(record.get("sha256"), dict):
        raise BrokenData(f"{path} is no record: it names no sha256 of the files. {_ADVICE}")
    return record


def read_tensors(folder: Path, file: str) -> dict[str, Tensor]:
    """Read a bundled safetensors file whose SHA-256 is the one in the record.

    Args:
        folder: what `find_folder` returned.
        file: name of the file in it, e.g. ``"model.safetensors"``.

    Returns:
        A new tensor for each name in the file, on the CPU.

    Raises:
        BrokenData: the file or its record is missing, or they do not agree.
    """
    expected = read_record(folder)["sha256"].get(file)
    content = _read(folder / file)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BrokenData(
            f"{folder / file} is not the file that was bundled: "
            f"its sha256 is {found}, the record says {expected}. {_ADVICE}"
        )
    return safetensors.torch.load(content)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenData(f"{path} cannot be read: {error.strerror}. {_ADVICE}") from error
