"""The data set of any length, and how its pictures are drawn."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pytest_xai.errors import BrokenData, InvalidArgument, UnknownName
from pytest_xai.subjects import ShapesDataset, bundled, paste_watermark
from pytest_xai.subjects.shapes_images import CLASSES, _photographs, draw_item
from pytest_xai.subjects.shapes_outlines import OUTLINES
from pytest_xai.subjects.shapes_scenes import draw_scene
from pytest_xai.subjects.shapes_watermark import GLYPH

ROOT = Path(__file__).parents[2] / "fixtures" / "shapes"
ITEMS = 96


@pytest.fixture(scope="module")
def scenes():
    photographs = _photographs("train")
    return [draw_item(i, photographs, split="train", seed=3) for i in range(ITEMS)]


def same(one, other):
    return one.label == other.label and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("image", "mask", "watermark")
    )


def test_item_has_the_documented_shapes_and_types():
    image, label, mask, watermark = ShapesDataset(1)[0]
    assert image.shape == (3, 64, 64)
    assert image.dtype == torch.float32
    assert type(label) is int
    assert mask.shape == watermark.shape == (64, 64)
    assert mask.dtype == watermark.dtype == torch.bool


def test_images_are_bytes_in_0_to_1():
    images = torch.stack([item.image for item in ShapesDataset(16)])
    levels = (images * 255).round()
    assert torch.equal(levels / 255, images)
    assert images.min() < 0.1
    assert images.max() > 0.9
    assert 0 <= images.min() < images.max() <= 1


def test_item_depends_neither_on_length_nor_on_order_nor_on_the_global_generators():
    forward = [ShapesDataset(10, seed=5)[index] for index in range(10)]
    longer = ShapesDataset(10_000, seed=5)
    torch.manual_seed(1)
    np.random.seed(1)
    backward = [longer[index] for index in reversed(range(10))][::-1]
    assert all(same(*pair) for pair in zip(forward, backward, strict=True))


def test_drawing_leaves_the_global_generators_alone():
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    ShapesDataset(3, watermark=True)[2]
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(legacy, np.random.get_state()[1])


def test_drawing_does_not_depend_on_the_default_dtype():
    expected = [ShapesDataset(8, watermark=True)[index] for index in range(8)]
    torch.set_default_dtype(torch.float64)
    try:
        found = [ShapesDataset(8, watermark=True)[index] for index in range(8)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(same(*pair) for pair in zip(expected, found, strict=True))
    assert all(item.image.dtype == torch.float32 for item in found)


def test_seeds_splits_and_indices_give_other_images():
    sets = [
        ShapesDataset(12, split=split, seed=seed)
        for split in ("train", "held_out")
        for seed in (0, 1)
    ]
    images = [item.image for dataset in sets for item in dataset]
    assert len(images) == 48
    for first in range(48):
        for second in range(first):
            # Different draws, not only different photographs: nearly every pixel differs.
            assert (images[first] != images[second]).float().mean() > 0.5


def test_masks_of_the_splits_differ():
    train, held_out = (ShapesDataset(8, split=split) for split in ("train", "held_out"))
    assert not any(torch.equal(a.mask, b.mask) for a, b in zip(train, held_out, strict=True))


def test_photographs_of_the_splits_are_different_ones():
    record = json.loads((ROOT / "shapes.json").read_text(encoding="utf-8"))
    names = {
        split: {row["name"] for row in record["photographs"] if row["split"] == split}
        for split in ("train", "held_out")
    }
    assert not names["train"] & names["held_out"]
    assert len(_photographs("train")) == len(names["train"]) == 6
    assert len(_photographs("held_out")) == len(names["held_out"]) == 5


def test_each_block_of_eight_has_each_class_once_in_varying_order():
    labels = [item.label for item in ShapesDataset(80)]
    blocks = [tuple(labels[start : start + 8]) for start in range(0, 80, 8)]
    assert all(sorted(block) == list(range(8)) for block in blocks)
    assert len(set(blocks)) == 10


def test_all_photographs_come_up_and_all_places_are_used(scenes):
    # Sizes of pieces are equal, so a photograph shows in what grey it is where no object is.
    covered = np.mean([scene.mask for scene, _ in scenes], axis=0)
    assert (covered[10:54, 10:54] > 0).all()
    photographs = _photographs("held_out")
    random = np.random.RandomState(0)
    marked = [np.full_like(p, 10 * (k + 1)) for k, p in enumerate(photographs)]
    tops = [draw_scene(random, 0, marked).background.max() for _ in range(60)]
    assert {round(int(top) / 10 + 0.49) for top in tops} == {1, 2, 3, 4, 5}


# Beyond a sharp tip, and where it is thinner than a pixel, the smoothing reaches farther.
POINTED = ("triangle", "star", "crescent")


def grown(mask, by):
    steps = range(-by, by + 1)
    padded = np.pad(mask, by)
    rolled = [np.roll(padded, (down, right), (0, 1)) for down in steps for right in steps]
    return np.logical_or.reduce(rolled)[by:-by, by:-by]


def test_mask_is_where_the_image_differs_from_its_background_up_to_the_rim(scenes):
    for scene, label in scenes:
        changed = (scene.image != scene.background).any(-1)
        assert (changed & ~grown(scene.mask, 1)).sum() <= (10 if CLASSES[label] in POINTED else 0)
        assert not (changed & ~grown(scene.mask, 4)).any()
        assert (changed & scene.mask).sum() > 0.99 * scene.mask.sum()


def test_objects_are_whole_inside_the_image_and_not_small(scenes):
    for scene, _ in scenes:
        edges = np.concatenate([scene.mask[0], scene.mask[-1], scene.mask[:, 0], scene.mask[:, -1]])
        assert edges.sum() <= 4
        assert 0.02 < scene.mask.mean() < 0.25
    assert 0.06 < np.mean([scene.mask.mean() for scene, _ in scenes]) < 0.15


def test_objects_stand_out(scenes):
    for scene, _ in scenes:
        inside = scene.image[scene.mask].mean(0) - scene.background[scene.mask].mean(0)
        assert np.abs(inside).sum() > 100


# Areas of the outlines in the circle of radius 1, in closed form.
AREAS = {
    "disc": np.pi * 0.8**2,
    "ring": np.pi * (0.97**2 - 0.57**2),
    "square": 1.4**2,
    "triangle": 3 * np.sqrt(3) / 4,
    # Ten triangles between the centre, a tip and an inner corner, at (3 - sqrt(5)) / 2.
    "star": 10 * 0.5 * (3 - np.sqrt(5)) / 2 * np.sin(np.pi / 5),
    "cross": 2 * 1.9 * 0.6 - 0.6**2,
    "bar": 1.9 * 0.6,
}


@pytest.mark.parametrize("name", CLASSES)
def test_outline_has_its_area_and_lies_in_the_unit_circle(name):
    axis = np.linspace(-1.2, 1.2, 1201)
    x, y = np.meshgrid(axis, axis)
    inside = OUTLINES[name](x, y) <= 0
    assert inside[np.hypot(x, y) > 1.001].sum() == 0
    area = inside.sum() * (axis[1] - axis[0]) ** 2
    if name == "crescent":
        bite = (np.hypot(x - 0.45, y) < 0.7) & (np.hypot(x, y) < 0.95)
        expected = np.pi * 0.95**2 - bite.sum() * (axis[1] - axis[0]) ** 2
    else:
        expected = AREAS[name]
    assert area == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", CLASSES)
def test_outline_is_a_distance_at_the_rim(name):
    """Smoothing over one pixel is right only where the slope is 1."""
    axis = np.linspace(-1.2, 1.2, 601)
    x, y = np.meshgrid(axis, axis)
    distance = OUTLINES[name](x, y)
    slope = np.hypot(*np.gradient(distance, axis[1] - axis[0]))
    assert np.median(slope[np.abs(distance) < 0.05]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("watermark", [False, True])
def test_only_squares_carry_the_watermark(watermark):
    dataset = ShapesDataset(32, watermark=watermark)
    plain = ShapesDataset(32)
    carrying = Counter()
    for item, bare in zip(dataset, plain, strict=True):
        carrying[dataset.classes[item.label]] += bool(item.watermark.any())
        assert torch.equal(item.mask, bare.mask)
        assert torch.equal(item.image[:, ~item.watermark], bare.image[:, ~item.watermark])
    assert dataset.watermarked == "square"
    assert carrying == Counter({name: 4 * watermark * (name == "square") for name in CLASSES})


def test_watermark_is_the_glyph_in_the_corner_far_from_the_object():
    dataset = ShapesDataset(200, split="held_out", seed=9)
    images = torch.stack([item.image for item in dataset])
    masks = torch.stack([item.mask for item in dataset])
    before = images.clone()
    pasted, watermarks = paste_watermark(images, masks)
    assert torch.equal(images, before)
    corners = Counter()
    for image, mask, mark in zip(pasted, masks, watermarks, strict=True):
        assert mark.sum() == 64
        assert not (mark & mask).any()
        top, left = (int(end) for end in mark.nonzero()[0])
        corners[top, left] += 1
        assert torch.equal(image[:, mark], GLYPH.float().flatten().expand(3, 64))
        rows, columns = mask.nonzero().float().mean(0)
        assert (top == 2) == (rows >= 31.5)
        assert (left == 2) == (columns >= 31.5)
    assert corners.keys() == {(2, 2), (2, 54), (54, 2), (54, 54)}
    assert min(corners.values()) > 20
    assert torch.equal(
        pasted[~watermarks[:, None].expand_as(pasted)],
        images[~watermarks[:, None].expand_as(images)],
    )


@pytest.mark.parametrize(
    "images, masks, message",
    [
        ((2, 3, 64, 64), (1, 64, 64), "images and masks: got .*expected"),
        ((2, 3, 64, 64), (2, 64, 60), "images and masks: got .*expected"),
        ((3, 64, 64), (64, 64), "images and masks: got .*expected"),
        ((1, 3, 20, 64), (1, 20, 64), "images and masks: got .*above 20"),
    ],
)
def test_watermark_refuses_shapes_that_do_not_belong_together(images, masks, message):
    with pytest.raises(InvalidArgument, match=message):
        paste_watermark(torch.zeros(images), torch.ones(masks, dtype=torch.bool))


def test_watermark_refuses_an_empty_mask():
    masks = torch.ones(2, 64, 64, dtype=torch.bool)
    masks[1] = False
    with pytest.raises(InvalidArgument, match="masks: got a mask without an object"):
        paste_watermark(torch.zeros(2, 3, 64, 64), masks)


def test_loader_batches_and_iteration_ends():
    dataset = ShapesDataset(10, watermark=True)
    batches = list(DataLoader(dataset, batch_size=4))
    assert [len(batch.image) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.image for batch in batches])[7], dataset[7].image)
    assert torch.cat([batch.label for batch in batches]).tolist() == [i.label for i in dataset]
    assert batches[0].mask.dtype == torch.bool
    assert batches[0].watermark.shape == (4, 64, 64)
    assert len(dataset) == len(list(dataset)) == 10


@pytest.mark.parametrize("index", [-1, 10, 99])
def test_index_out_of_range_is_refused(index):
    with pytest.raises(IndexError, match=f"index {index} of 10 items"):
        ShapesDataset(10)[index]


def test_indices_of_numpy_and_torch_are_taken():
    dataset = ShapesDataset(4)
    assert same(dataset[np.int64(3)], dataset[3])
    assert same(dataset[torch.tensor(3)], dataset[3])


@pytest.mark.parametrize("length", [0, -1, 2.0, True, None, "3"])
def test_wrong_length_is_refused(length):
    with pytest.raises(InvalidArgument, match="length: got .*, expected an integer from 1 upwards"):
        ShapesDataset(length)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None])
def test_wrong_seed_is_refused(seed):
    with pytest.raises(
        InvalidArgument, match="seed: got .*, expected an integer from 0 to 4294967295"
    ):
        ShapesDataset(1, seed=seed)


def test_largest_seed_is_taken():
    assert not same(ShapesDataset(1, seed=2**32 - 1)[0], ShapesDataset(1)[0])


def test_unknown_split_is_refused():
    with pytest.raises(UnknownName, match=r"unknown split 'test'. Known: train, held_out"):
        ShapesDataset(1, split="test")


def test_missing_photographs_are_named(tmp_path, monkeypatch):
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "shapes.json").write_text('{"sha256": {}, "photographs": []}')
    monkeypatch.setattr(bundled, "_PLACES", (tmp_path,))
    with pytest.raises(BrokenData, match="photographs.safetensors cannot be read"):
        ShapesDataset(1)
