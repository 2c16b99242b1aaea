"""Without ``--xai`` pytest starts as fast as before: in fresh processes."""

import json
import subprocess
import sys

import pytest

SLOW = ("torch", "numpy", "rich", "tomli", "tomllib", "pytest_xai.registry", "pytest_xai.errors")

LOOK = f"""
import json, sys

def pytest_unconfigure(config):
    print("loaded:", json.dumps([name for name in {SLOW!r} if name in sys.modules]))
"""


def loaded(folder, *arguments):
    (folder / "look.py").write_text(LOOK)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "look", "-p", "no:hypothesispytest", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("loaded:")]
    return json.loads(line.removeprefix("loaded:"))


@pytest.mark.parametrize("arguments", [["--co", "-q"], ["-q"], ["--help"], ["-q", "-m", "xai"]])
def test_nothing_slow_is_loaded_without_the_gate(tmp_path, arguments):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n@pytest.mark.xai\ndef test_marked(): pass\n\ndef test_ordinary(): pass\n"
    )
    (tmp_path / "conftest.py").write_text("def pytest_xai_register(registry): 1 / 0\n")
    assert loaded(tmp_path, *arguments) == []


@pytest.mark.slow
def test_the_tests_above_can_fail(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.pytest_xai]\nseed = 1\n")
    found = loaded(tmp_path, "--xai", "--co", "-q")
    toml = {"tomli", "tomllib"}
    assert set(found) - toml == set(SLOW) - toml
    assert toml & set(found)


def test_the_names_of_the_package_need_no_torch():
    code = "import sys, pytest_xai, pytest_xai.plugin; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
