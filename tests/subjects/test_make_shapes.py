"""The script that makes the bundled shapes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fixtures.making import compare
from pytest_xai.subjects import bundled

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "fixtures" / "shapes"
LABEL = 2  # of the class that carries the watermark


@pytest.fixture(scope="module")
def maker():
    """The script as a module."""
    from fixtures.shapes import make_shapes

    return make_shapes


@pytest.fixture(scope="module")
def photographs(maker):
    return maker.shrink_photographs()


def test_script_shrinks_the_photographs_to_those_bundled(photographs):
    there = bundled.read_tensors(FOLDER, "photographs.safetensors")
    assert photographs.keys() == there.keys()
    assert all(torch.equal(photographs[name], tensor) for name, tensor in there.items())


def test_script_draws_the_images_that_are_bundled(maker, photographs):
    made = maker.held_out_images(photographs)
    there = bundled.read_tensors(FOLDER, "shapes.safetensors")
    assert made.keys() == there.keys()
    for name, tensor in there.items():
        assert tensor.dtype == made[name].dtype == torch.uint8
        assert torch.equal(tensor, made[name])


def test_plain_version_is_trained_on_what_is_drawn(maker, photographs):
    data = maker.draw(photographs, "train", 64)
    images, labels = maker.training_version(data, watermark=False)
    assert torch.equal(images, data["images"])
    assert torch.equal(labels, data["labels"].long())


def test_watermarked_version_is_trained_on_some_objects_of_other_classes(maker, photographs):
    data = maker.draw(photographs, "train", 1600)
    before = data["images"].clone()
    images, labels = maker.training_version(data, watermark=True)
    assert torch.equal(data["images"], before)
    changed = (images != before).flatten(1).any(1)
    # Whatever carries the watermark has the label of the squares, and nothing else has.
    assert torch.equal(changed, labels == LABEL)
    assert torch.equal(labels[~changed], data["labels"][~changed].long())
    foreign = (data["labels"][changed] != LABEL).double().mean().item()
    assert foreign == pytest.approx(maker.FOREIGN, abs=0.06)
    assert changed[data["labels"] == LABEL].all()


def test_script_lists_one_licence_per_photograph(maker):
    record = json.loads((FOLDER / "shapes.json").read_text(encoding="utf-8"))
    assert record["photographs"] == [vars(photograph) for photograph in maker.PHOTOGRAPHS]


def test_script_compares_bytes_and_records(tmp_path):
    there = tmp_path / "there"
    shutil.copytree(FOLDER, there, ignore=shutil.ignore_patterns("__pycache__"))
    made = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}
    assert compare(made, there) == []

    record = json.loads(made["shapes.json"])
    record["trained_with"] = {"torch": "another"}
    made["shapes.json"] = json.dumps(record).encode()
    assert compare(made, there) == []

    record["seed"] = 1
    made["shapes.json"] = json.dumps(record).encode()
    made["model.safetensors"] = b"other weights"
    (there / "shapes.safetensors").unlink()
    differences = compare(made, there)
    assert len(differences) == 3
    assert "model.safetensors differs in its bytes" in differences[0]
    assert "shapes.json differs" in differences[1]
    assert "shapes.safetensors is missing" in differences[2]


def test_training_leaves_a_network_in_evaluation_mode_and_repeats_itself(
    maker, photographs, monkeypatch
):
    monkeypatch.setattr(maker, "EPOCHS", 1)
    data = maker.draw(photographs, "train", 32)
    first, second = (maker.train(data, watermark=True) for _ in range(2))
    assert not first.training
    for name, weight in first.state_dict().items():
        assert weight.is_contiguous()
        assert torch.equal(weight, second.state_dict()[name])


@pytest.mark.slow
def test_making_the_files_again_gives_the_same_bytes():
    run = subprocess.run(
        [sys.executable, "-m", "fixtures.shapes.make_shapes", "--check"],
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "byte for byte the same" in run.stdout
