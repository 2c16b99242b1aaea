"""Root of the test run: a demo in a clone shows the demo alone."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests out of ``pytest --xai --xai-demo``, which runs without what they need."""
    return True if config.getoption("xai_demo", default=False) else None
