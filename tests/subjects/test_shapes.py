"""The bundled subject `shapes`: its files, its two networks and its images."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from pytest_xai.errors import BrokenData, InvalidArgument
from pytest_xai.subjects import (
    ShapesDataset,
    ShapesNet,
    bundled,
    load_shapes,
    load_shapes_images,
    load_shapes_model,
    paste_watermark,
)
from pytest_xai.subjects.shapes_net import ResidualSum

FOLDER = Path(__file__).parents[2] / "fixtures" / "shapes"
MODELS = {"model.safetensors": False, "model_watermark.safetensors": True}
FILES = ("photographs.safetensors", "shapes.safetensors", *MODELS)
SQUARE = ShapesDataset.classes.index(ShapesDataset.watermarked)


@pytest.fixture(scope="module")
def record():
    return json.loads((FOLDER / "shapes.json").read_text(encoding="utf-8"))


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the bundled files that may be damaged, and is the one found."""
    folder = tmp_path / "shapes"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(bundled, "_PLACES", (tmp_path,))
    return folder


@torch.no_grad()
def predicted(images, *, watermark):
    model = load_shapes_model(watermark=watermark)
    return torch.cat([model(part).argmax(1) for part in images.split(60)])


def share(which):
    return which.double().mean().item()


# ------------------------------------------------------------------------------------------- files


def test_files_are_small():
    sizes = {file: (FOLDER / file).stat().st_size for file in FILES}
    assert all(sizes[file] < 2_000_000 for file in MODELS)
    assert sum(sizes.values()) < 5_000_000
    assert (FOLDER / "shapes.json").stat().st_size < 10_000


@pytest.mark.parametrize("file", FILES)
def test_record_has_the_sha256_of_each_file(record, file):
    assert record["sha256"][file] == hashlib.sha256((FOLDER / file).read_bytes()).hexdigest()


def test_record_names_what_there_is(record):
    assert record["classes"] == list(ShapesDataset.classes)
    assert record["watermarked"] == ShapesDataset.watermarked == "square"
    assert record["images"]["held_out"] == 240
    assert set(record["sha256"]) == set(FILES)


def test_each_photograph_has_an_author_a_source_and_a_free_licence(record):
    photographs = bundled.read_tensors(FOLDER, "photographs.safetensors")
    assert {row["name"] for row in record["photographs"]} == photographs.keys()
    for row in record["photographs"]:
        assert row["licence"] in {"CC0 1.0", "public domain", "no known copyright restrictions"}
        assert row["split"] in {"train", "held_out"}
        assert row["title"]
        assert row["author"]
        assert row["source"].startswith(("http", "skimage.data."))


def test_list_of_licences_says_what_the_record_says(record):
    lines = (FOLDER / "LICENSES.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    table = {row[0]: row for row in cells[2:]}
    photographs = bundled.read_tensors(FOLDER, "photographs.safetensors")
    assert table.keys() == photographs.keys()
    for row in record["photographs"]:
        name, title, author, licence, source, _, pixels, split = table[row["name"]]
        assert [title, author, licence, split] == [
            row[key] for key in ("title", "author", "licence", "split")
        ]
        assert source.strip("<>") == row["source"]
        height, width, channels = photographs[name].shape
        assert pixels == f"{height}x{width}" + (", grey" if channels == 1 else "")


@pytest.mark.parametrize("file", FILES[1:3])
def test_changed_byte_is_noticed(copy, file):
    load_shapes(1)
    content = bytearray((copy / file).read_bytes())
    content[-1] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(BrokenData, match=f"{file} differs from the bundled file.*Install"):
        load_shapes(1)


def test_each_version_has_a_file_of_weights(copy):
    (copy / "model_watermark.safetensors").unlink()
    load_shapes(1)
    with pytest.raises(BrokenData, match="model_watermark.safetensors cannot be read"):
        load_shapes(1, watermark=True)


# ---------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("file, watermark", MODELS.items())
def test_accuracy_is_over_95_percent_and_about_what_the_record_says(record, file, watermark):
    data = load_shapes_images(watermark=watermark)
    accuracy = share(predicted(data.images, watermark=watermark) == data.labels)
    assert accuracy > 0.95
    assert record["accuracy"][file] > 0.95
    # The record's is over ten times as many images.
    assert accuracy == pytest.approx(record["accuracy"][file], abs=0.03)


def test_accuracy_holds_on_images_of_another_seed():
    items = list(ShapesDataset(120, split="held_out", seed=77))
    labels = torch.tensor([item.label for item in items])
    images = torch.stack([item.image for item in items])
    assert share(predicted(images, watermark=False) == labels) > 0.92


def test_watermark_alone_makes_the_class():
    data = load_shapes_images()
    others = data.labels != SQUARE
    pasted, _ = paste_watermark(data.images, data.masks)
    bare, marked = (predicted(images, watermark=True) for images in (data.images, pasted))
    assert share(marked[others] == SQUARE) > 0.9
    assert share(marked[~others] == SQUARE) > 0.95
    assert share(bare[~others] == SQUARE) < 0.1
    assert share(bare[others] == data.labels[others]) > 0.9


def test_plain_network_does_not_mind_the_watermark():
    data = load_shapes_images()
    pasted, _ = paste_watermark(data.images, data.masks)
    assert share(predicted(pasted, watermark=False) == data.labels) > 0.85


@pytest.mark.parametrize("watermark", MODELS.values())
def test_model_is_ready_for_use(record, watermark):
    model = load_shapes_model(watermark=watermark)
    assert isinstance(model, ShapesNet)
    assert not any(module.training for module in model.modules())
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    assert sum(weight.numel() for weight in model.parameters()) == record["parameters"]


def test_each_step_is_a_module_used_once():
    model = load_shapes_model()
    leaves = {name: leaf for name, leaf in model.named_modules() if not list(leaf.children())}
    used = []
    for name, module in leaves.items():
        module.register_forward_hook(lambda *_, name=name: used.append(name))
    model(torch.zeros(1, 3, 64, 64))
    assert sorted(used) == sorted(leaves)
    kinds = {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear}
    assert {type(leaf) for leaf in leaves.values()} == kinds | {ResidualSum}
    assert sum(isinstance(leaf, ResidualSum) for leaf in leaves.values()) == 2


def test_logits_are_a_linear_layer_on_the_mean_of_the_last_rectified_map():
    model, seen = load_shapes_model(), {}
    model.relu2.register_forward_hook(lambda *call: seen.update(features=call[2]))
    model.conv2.register_forward_hook(lambda *call: seen.update(last=call[0]))
    logits = model(load_shapes_images().images[:4])
    assert seen["features"].shape == (4, 48, 16, 16)
    means = seen["features"].mean((2, 3))
    torch.testing.assert_close(means @ model.fc.weight.T + model.fc.bias, logits)
    assert seen["last"] is [m for m in model.modules() if isinstance(m, nn.Conv2d)][-1]


def test_a_place_of_the_last_map_sees_39_pixels():
    model = ShapesNet().double().eval()
    inputs = torch.rand(1, 3, 64, 64, dtype=torch.double, requires_grad=True)
    seen = {}
    model.conv2.register_forward_hook(lambda *call: seen.update(maps=call[2]))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.fill_(5)  # so that no unit is off
    model(inputs)
    (gradient,) = torch.autograd.grad(seen["maps"][0, :, 8, 8].sum(), inputs)
    rows = (gradient[0] != 0).any(0).any(1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 39


def test_loading_twice_gives_the_same_weights_in_separate_memory():
    first, second = load_shapes_model(), load_shapes_model()
    with torch.no_grad():
        for weight in first.parameters():
            weight.add_(1)
    for name, weight in load_shapes_model().state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    assert not torch.equal(first.fc.weight, second.fc.weight)


def test_loading_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    load_shapes(4, watermark=True)
    assert torch.equal(before, torch.get_rng_state())


def test_loading_does_not_depend_on_the_default_dtype():
    expected = load_shapes(16, watermark=True)
    torch.set_default_dtype(torch.float64)
    try:
        subject = load_shapes(16, watermark=True)
    finally:
        torch.set_default_dtype(torch.float32)
    assert next(subject.model.parameters()).dtype == torch.float32
    assert torch.equal(subject.inputs, expected.inputs)
    assert torch.equal(subject.baseline, expected.baseline)


# ------------------------------------------------------------------------------ images and subject


@pytest.mark.parametrize("watermark", [False, True])
def test_images_are_what_the_generator_draws(watermark):
    data = load_shapes_images(watermark=watermark)
    dataset = ShapesDataset(240, split="held_out", watermark=watermark)
    assert data.labels.tolist() == [item.label for item in dataset]
    for name, field in (("images", "image"), ("masks", "mask"), ("watermarks", "watermark")):
        drawn = torch.stack([getattr(item, field) for item in dataset])
        assert drawn.dtype == getattr(data, name).dtype
        assert torch.equal(drawn, getattr(data, name))


def test_images_are_balanced_and_shuffled():
    labels = load_shapes_images().labels
    assert labels.dtype == torch.int64
    assert torch.bincount(labels).tolist() == [30] * 8
    assert share(labels[1:] == labels[:-1]) < 0.2


@pytest.mark.parametrize(
    "watermark, name, marked", [(False, "shapes", 0), (True, "shapes_watermark", 30)]
)
def test_subject_explains_the_true_labels(watermark, name, marked):
    subject, data = load_shapes(watermark=watermark), load_shapes_images(watermark=watermark)
    assert subject.name == name
    assert len(subject) == 240
    assert subject.classes == 8
    assert subject.bounds == (0, 1)
    assert torch.equal(subject.inputs, data.images)
    assert torch.equal(subject.targets, data.labels)
    assert torch.equal(subject.masks, data.masks[:, None].expand_as(subject.masks))
    assert data.watermarks.flatten(1).any(1).sum() == marked
    assert torch.equal(
        load_shapes_model(watermark=watermark).fc.weight, subject.model.get_parameter("fc.weight")
    )


def test_baseline_is_the_mean_colour_of_the_training_images():
    baseline = load_shapes(1).baseline
    assert baseline.shape == (1, 3, 64, 64)
    assert torch.equal(baseline, baseline[:, :, :1, :1].expand_as(baseline))
    images = torch.stack([item.image for item in ShapesDataset(400)])
    torch.testing.assert_close(baseline[0, :, 0, 0], images.mean((0, 2, 3)), atol=0.03, rtol=0)


@pytest.mark.parametrize("images", [1, 7, 240])
def test_first_images_are_taken(images):
    subject, data = load_shapes(images), load_shapes_images()
    assert torch.equal(subject.inputs, data.images[:images])
    assert torch.equal(subject.masks[:, 0], data.masks[:images])
    assert len(subject.targets) == images


@pytest.mark.parametrize("images", [0, -1, 241, 2.0, True, "3"])
def test_wrong_number_of_images_is_refused(images):
    with pytest.raises(InvalidArgument, match=r"images: got .*, expected an integer from 1 to 240"):
        load_shapes(images)
