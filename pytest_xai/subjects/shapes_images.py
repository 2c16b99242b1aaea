"""A data set of any length, drawn from a seed: geometric objects over photographs.

The photographs are in the public domain or under CC0; fixtures/shapes/LICENSES.md lists them.
"""

import operator
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.subjects import bundled
from pytest_xai.subjects.shapes_outlines import OUTLINES
from pytest_xai.subjects.shapes_scenes import Scene, Stream, draw_scene
from pytest_xai.subjects.shapes_watermark import WATERMARKED, paste_watermark

__all__ = ["CLASSES", "SPLITS", "ShapesDataset", "ShapesItem", "draw_item"]

CLASSES = tuple(OUTLINES)
"""Names of the classes, in the order of the labels."""
SPLITS = ("train", "held_out")


class ShapesItem(NamedTuple):
    """One image with label and masks.

    Attributes:
        image: (3, 64, 64) in [0, 1], float32.
        label: index in `CLASSES`.
        mask: (64, 64), true on the object.
        watermark: (64, 64), true on the watermark; false everywhere without one.
    """

    image: Tensor
    label: int
    mask: Tensor
    watermark: Tensor


class ShapesDataset(Dataset[ShapesItem]):
    """Geometric objects over crops of photographs, with masks of the objects.

    Item i depends only on (split, seed, i) and is the same bit for bit on every machine; neither
    the length nor the items read before have an effect. Items 8k to 8k + 7 have one image of each
    class, in a random order. The two splits use different photographs.

    Args:
        length: number of items.
        split: ``"train"`` or ``"held_out"``; determines the photographs in the background.
        seed: from 0 to 2**32 - 1; the bundled held-out images have seed 0.
        watermark: paste the watermark on the images of the class `WATERMARKED`.

    Raises:
        InvalidArgument: the length is not a positive integer, or the seed is out of its range.
        UnknownName: the split is unknown.
        BrokenData: the bundled photographs are missing or were changed.

    Attributes:
        classes: names of the classes, in the order of the labels.
        watermarked: name of the class with the watermark.
    """

    classes: ClassVar[tuple[str, ...]] = CLASSES
    watermarked: ClassVar[str] = WATERMARKED

    def __init__(
        self, length: int, *, split: str = "train", seed: int = 0, watermark: bool = False
    ) -> None:
        self._length = _integer("length", length, 1, None)
        self._seed = _integer("seed", seed, 0, 2**32 - 1)
        if split not in SPLITS:
            raise UnknownName.among("split", split, SPLITS)
        self._split = split
        self._watermark = watermark
        self._photographs = _photographs(split)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> ShapesItem:
        """Draw one item.

        Raises:
            IndexError: the index is not from 0 to the length less one.
        """
        index = operator.index(index)
        if not 0 <= index < self._length:
            raise IndexError(f"index {index} of {self._length} items")
        scene, label = draw_item(index, self._photographs, split=self._split, seed=self._seed)
        image = torch.from_numpy(scene.image.transpose(2, 0, 1).copy()).float() / 255
        mask = torch.from_numpy(scene.mask)
        if not (self._watermark and CLASSES[label] == WATERMARKED):
            return ShapesItem(image, label, mask, torch.zeros_like(mask))
        images, watermarks = paste_watermark(image[None], mask[None])
        return ShapesItem(images[0], label, mask, watermarks[0])


def draw_item(
    index: int, photographs: Sequence[NDArray[np.uint8]], *, split: str, seed: int
) -> tuple[Scene, int]:
    """Draw the scene and the label of an item of `ShapesDataset`, without a watermark.

    Args:
        index: index of the item, 0 or more.
        photographs: the photographs of the split, (H, W, 1 or 3) each.
        split: one of `SPLITS`.
        seed: seed of the data set.
    """
    key = [SPLITS.index(split), seed]
    block, place = divmod(index, len(CLASSES))
    label = int(Stream([*key, block, 1]).permutation(len(CLASSES))[place])
    return draw_scene(Stream([*key, index, 0]), label, photographs), label


def _photographs(split: str) -> list[NDArray[np.uint8]]:
    """Load the background photographs of a split, (H, W, 1 or 3) each."""
    folder = bundled.find_folder("shapes")
    tensors = bundled.read_tensors(folder, "photographs.safetensors")
    rows = bundled.read_record(folder)["photographs"]
    return [tensors[row["name"]].numpy() for row in rows if row["split"] == split]


def _integer(name: str, value: int, low: int, high: int | None) -> int:
    good = isinstance(value, int) and not isinstance(value, bool)
    if good and low <= value and (high is None or value <= high):
        return value
    expected = f"an integer from {low} " + ("upwards" if high is None else f"to {high}")
    raise InvalidArgument.of(name, got=repr(value), expected=expected)
