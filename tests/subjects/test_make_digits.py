"""The script that makes the bundled digits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fixtures.making import compare
from pytest_xai.subjects import bundled

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "fixtures" / "digits"
FILES = ("digits.safetensors", "model.safetensors", "permuted.safetensors")


@pytest.fixture(scope="module")
def maker():
    """The script as a module."""
    from fixtures.digits import make_digits

    return make_digits


def run_script(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fixtures.digits.make_digits", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )


def test_script_splits_the_data_as_they_are_bundled(maker):
    made = maker.split_data()
    there = bundled.read_tensors(FOLDER, "digits.safetensors")
    assert made.keys() == there.keys()
    for name, tensor in there.items():
        assert tensor.dtype == made[name].dtype == torch.uint8
        assert torch.equal(tensor, made[name])


def test_script_compares_bytes_and_records(copy):
    made = {file: (copy / file).read_bytes() for file in (*FILES, "digits.json")}
    assert compare(made, copy) == []

    record = json.loads(made["digits.json"])
    record["trained_with"] = {"torch": "another"}
    made["digits.json"] = json.dumps(record).encode()
    assert compare(made, copy) == []

    record["seed"] = 1
    made["digits.json"] = json.dumps(record).encode()
    made["model.safetensors"] = b"other weights"
    (copy / "digits.safetensors").unlink()
    differences = compare(made, copy)
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
