"""The script that makes the bundled digits."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pytest_xai.subjects import bundled

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "fixtures" / "digits"
SCRIPT = FOLDER / "make_digits.py"
FILES = ("digits.safetensors", "model.safetensors", "permuted.safetensors")


@pytest.fixture(scope="module")
def maker():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_digits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_script_splits_the_data_as_they_are_bundled(maker):
    made = maker.split_data()
    there = bundled.read_tensors(FOLDER, "digits.safetensors")
    assert made.keys() == there.keys()
    for name, tensor in there.items():
        assert tensor.dtype == made[name].dtype == torch.uint8
        assert torch.equal(tensor, made[name])


def test_script_compares_bytes_and_records(maker, copy, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    for file in (*FILES, "digits.json"):
        shutil.copy(copy / file, again / file)
    assert maker.compare(copy, again) == []

    record = json.loads((again / "digits.json").read_text(encoding="utf-8"))
    record["trained_with"] = {"torch": "another"}
    (again / "digits.json").write_text(json.dumps(record))
    assert maker.compare(copy, again) == []

    record["seed"] = 1
    (again / "digits.json").write_text(json.dumps(record))
    (again / "model.safetensors").write_bytes(b"other weights")
    (copy / "digits.safetensors").unlink()
    differences = maker.compare(copy, again)
    assert len(differences) == 3
    assert "digits.json differs" in differences[0]
    assert "digits.safetensors is missing" in differences[1]
    assert "model.safetensors differs in its bytes" in differences[2]


@pytest.mark.slow
def test_making_the_files_again_gives_the_same_bytes():
    run = run_script("--check")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "byte for byte the same" in run.stdout


@pytest.mark.slow
def test_check_fails_when_the_weights_are_others(copy):
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    run = run_script("--check", "--folder", str(copy))
    assert run.returncode == 1
    assert run.stdout.splitlines() == [
        f"{copy / 'model.safetensors'} differs in its bytes from the one made now"
    ]


@pytest.mark.slow
def test_script_writes_the_four_files_and_nothing_else(tmp_path):
    run = run_script("--folder", str(tmp_path / "new"))
    assert run.returncode == 0, run.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert written.keys() == {*FILES, "digits.json"}
    assert all(written[file] == (FOLDER / file).read_bytes() for file in FILES)
