"""The bundled subject "shapes": objects over photographs, masks of the objects, a small ResNet.

There are two versions. In the second version one class has a small watermark, and the network
recognises this class by the watermark alone (Clever Hans). fixtures/README.md describes how the
images were drawn and the networks trained.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pytest_xai.core.subject import Subject
from pytest_xai.errors import InvalidArgument
from pytest_xai.subjects import bundled
from pytest_xai.subjects.shapes_images import CLASSES
from pytest_xai.subjects.shapes_net import ShapesNet
from pytest_xai.subjects.shapes_watermark import WATERMARKED, paste_watermark

__all__ = ["ShapesImages", "load_shapes", "load_shapes_images", "load_shapes_model"]

_FOLDER = "shapes"


class ShapesImages(NamedTuple):
    """Images with labels and masks.

    Attributes:
        images: (N, 3, 64, 64) in [0, 1], float32.
        labels: indices in `CLASSES`, (N,), int64.
        masks: (N, 64, 64), true on the object.
        watermarks: (N, 64, 64), true on the watermark; false everywhere without one.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    watermarks: Tensor


def load_shapes_model(*, watermark: bool = False) -> ShapesNet:
    """Load a trained network, in evaluation mode, on the CPU, in float32.

    Each call creates a new network; the global random generators are not changed.

    Args:
        watermark: load the network that was trained on squares with the watermark.

    Raises:
        BrokenData: the bundled weights are missing or were changed.
    """
    file = "model_watermark.safetensors" if watermark else "model.safetensors"
    weights = bundled.read_tensors(bundled.find_folder(_FOLDER), file)
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, then replaced
        model = ShapesNet().float()
    model.load_state_dict(weights)
    return model.eval()


def load_shapes_images(*, watermark: bool = False) -> ShapesImages:
    """Load the 240 bundled held-out images, 30 of each class, in a shuffled order.

    They equal ``ShapesDataset(240, split="held_out", watermark=watermark)`` bit for bit. Their
    background photographs are in no training image.

    Args:
        watermark: paste the watermark on the images of the class `WATERMARKED`.

    Raises:
        BrokenData: the bundled data are missing or were changed.
    """
    data = bundled.read_tensors(bundled.find_folder(_FOLDER), "shapes.safetensors")
    images, labels = data["images"].float() / 255, data["labels"].long()
    # One byte has eight pixels.
    masks = torch.from_numpy(np.unpackbits(data["masks"].numpy(), axis=-1)).bool()
    watermarks = torch.zeros_like(masks)
    if watermark:
        carries = labels == CLASSES.index(WATERMARKED)
        images[carries], watermarks[carries] = paste_watermark(images[carries], masks[carries])
    return ShapesImages(images, labels, masks, watermarks)


def load_shapes(images: int | None = None, *, watermark: bool = False) -> Subject:
    """Load the subject "shapes" or "shapes_watermark", held-out images with their true labels.

    The masks show the objects in both versions; correct explanations of squares in the second
    version lie outside of them. `load_shapes_images` returns the masks of the watermarks.

    The baseline is the mean colour of all training images, (1, 3, 64, 64). It has no edge and
    therefore no object, and unlike black it is about as far from dark pixels as from bright ones.
    The bounds are (0, 1).

    Args:
        images: number of held-out images, starting with the first; None: all 240.
        watermark: load the version with watermarks on the squares, and its network.

    Raises:
        InvalidArgument: `images` is not an integer from 1 to 240.
        BrokenData: the bundled files are missing or were changed.
    """
    data = load_shapes_images(watermark=watermark)
    count: object = len(data.images) if images is None else images
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= len(data.images):
        raise InvalidArgument.of(
            "images", got=repr(images), expected=f"an integer from 1 to {len(data.images)}, or None"
        )
    colour = bundled.read_record(bundled.find_folder(_FOLDER))["mean_colour"]
    return Subject(
        load_shapes_model(watermark=watermark),
        data.images[:count],
        data.labels[:count],
        baseline=torch.tensor(colour, dtype=torch.float32).reshape(1, 3, 1, 1),
        bounds=(0.0, 1.0),
        masks=data.masks[:count],
        name="shapes_watermark" if watermark else "shapes",
    )
