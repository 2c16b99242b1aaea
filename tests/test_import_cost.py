"""Every run of pytest imports the plugin, so it loads nothing slow."""

import subprocess
import sys

import pytest

SLOW = {
    "torch",
    "numpy",
    "rich",
    "scipy",
    "foolbox",
    "captum",
    "safetensors",
    "pytest_xai.bench",
}


def loaded_by(code):
    """Which of the slow modules a fresh process has loaded after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        check=True,
        capture_output=True,
        text=True,
    )
    return SLOW & set(done.stdout.split())


def test_the_plugin_loads_nothing_slow():
    assert loaded_by("import pytest_xai, pytest_xai.plugin") == set()


@pytest.mark.parametrize(
    "code, expected",
    [
        ("import pytest_xai.core.subject", {"torch", "numpy"}),
        ("import numpy", {"numpy"}),
        ("import rich", {"rich"}),
    ],
    ids=["a module of ours", "numpy", "rich"],
)
def test_what_is_loaded_is_seen(code, expected):
    assert expected <= loaded_by(code)


def test_asking_for_errors_loads_nothing_slow():
    assert loaded_by("import pytest_xai; pytest_xai.CheckFailed, pytest_xai.__version__") == set()
