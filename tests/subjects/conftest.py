"""Fixtures of the bundled files."""

import json
import shutil
from pathlib import Path

import pytest

from pytest_xai.subjects import bundled

FOLDER = Path(__file__).parents[2] / "fixtures" / "digits"


@pytest.fixture
def record():
    return json.loads((FOLDER / "digits.json").read_text(encoding="utf-8"))


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the bundled files that may be damaged, and is the one found."""
    folder = tmp_path / "digits"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(bundled, "_PLACES", (tmp_path,))
    return folder
