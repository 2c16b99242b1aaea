"""The bundled subject "digits": handwritten digits and a small convolutional network.

The data are the 1,797 images of 8x8 pixels that scikit-learn ships (Alpaydin and Kaynak 1998, CC
BY 4.0). fixtures/README.md describes the split and the training of the network.
"""

import torch
from torch import Tensor, nn

from pytest_xai.core.subject import Subject
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.subjects import bundled

__all__ = ["DigitsNet", "load_digits", "load_digits_images", "load_digits_model"]

_FULL_INK = 16.0  # a pixel counts the dark points in a 4x4 block of the original scan
_SPLITS = ("train", "held_out")


class DigitsNet(nn.Module):
    """Two conv-ReLU-MaxPool blocks and two linear layers: (N, 1, 8, 8) to (N, 10) logits.

    Every step is a separate module that is used once, so that methods with hooks find all of them.
    The network has 13,706 parameters, biases in all layers, no normalisation and no dropout.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(128, 64)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logits (N, 10) of images (N, 1, 8, 8) in [0, 1]."""
        hidden = self.pool1(self.relu1(self.conv1(inputs)))
        hidden = self.pool2(self.relu2(self.conv2(hidden)))
        logits: Tensor = self.fc2(self.relu3(self.fc1(self.flatten(hidden))))
        return logits


def load_digits_model() -> DigitsNet:
    """Load the trained network, in evaluation mode, on the CPU, in float32.

    Each call creates a new network; the global random generators are not changed.

    Raises:
        BrokenData: the bundled weights are missing or were changed.
    """
    return _model("model.safetensors")


def _permuted_model() -> DigitsNet:
    """Load the network that memorised the training images with permuted labels."""
    return _model("permuted.safetensors")


def _model(file: str) -> DigitsNet:
    weights = bundled.read_tensors(bundled.find_folder("digits"), file)
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, then replaced
        model = DigitsNet().float()
    model.load_state_dict(weights)
    return model.eval()


def load_digits_images(split: str = "held_out") -> tuple[Tensor, Tensor]:
    """Load images with their true labels, in a shuffled order that is always the same.

    Args:
        split: ``"train"`` (1,437 images with which the network was trained) or ``"held_out"`` (360
            other images).

    Returns:
        Images (N, 1, 8, 8) in [0, 1], float32, 1 is full ink; labels (N,) from 0 to 9, int64.

    Raises:
        UnknownName: the split is unknown.
        BrokenData: the bundled data are missing or were changed.
    """
    if split not in _SPLITS:
        raise UnknownName.among("split", split, _SPLITS)
    data = bundled.read_tensors(bundled.find_folder("digits"), "digits.safetensors")
    return data[f"{split}_images"].float() / _FULL_INK, data[f"{split}_labels"].long()


def load_digits(images: int | None = None) -> Subject:
    """Load the subject "digits": held-out images, explained for their true labels.

    The network misclassifies two of the 360 images; adversarial checks leave them out. The baseline
    is the mean training image, (1, 1, 8, 8), and the bounds are (0, 1).

    Args:
        images: number of held-out images, starting with the first; None: all 360.

    Raises:
        InvalidArgument: `images` is not an integer from 1 to 360.
        BrokenData: the bundled files are missing or were changed.
    """
    inputs, labels = load_digits_images("held_out")
    count: object = len(inputs) if images is None else images
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= len(inputs):
        raise InvalidArgument.of(
            "images", got=repr(images), expected=f"an integer from 1 to {len(inputs)}, or None"
        )
    # Sums of sixteenths are exact, so that the baseline is the same on every machine.
    baseline = load_digits_images("train")[0].mean(0, keepdim=True)
    return Subject(
        load_digits_model(),
        inputs[:count],
        labels[:count],
        baseline=baseline,
        bounds=(0.0, 1.0),
        name="digits",
        permuted_model=_permuted_model,
    )
