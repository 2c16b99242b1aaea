"""Two image generators: one keeps a classifier's decision, the other changes it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Generator", "GeneratorPair", "pair_of", "state_of"]

_WIDTH = 12
# Names of the tensors in a file of weights that describe the images.
_SHAPE, _BOUNDS = "shape", "bounds"


class Generator(nn.Module):
    """A U-Net of three levels: images (N, C, H, W) to images of the same shape and range.

    Every pixel is generated, between two bounds, and no pixel of the image is copied. Image details
    that neither of two such generators reproduces are therefore absent from their difference.

    Args:
        channels: C.
        bounds: smallest and largest value of a pixel.
    """

    def __init__(self, channels: int, bounds: tuple[float, float]) -> None:
        super().__init__()
        self.bounds = bounds
        self.fine = nn.Conv2d(channels, _WIDTH, 3, padding=1)
        self.middle = nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(2 * _WIDTH, 3 * _WIDTH, 3, stride=2, padding=1)
        self.to_middle = nn.Conv2d(5 * _WIDTH, 2 * _WIDTH, 3, padding=1)
        self.to_fine = nn.Conv2d(3 * _WIDTH, _WIDTH, 3, padding=1)
        self.draw = nn.Conv2d(_WIDTH, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Generate an image for each of (N, C, H, W)."""
        fine = functional.silu(self.fine(images))
        middle = functional.silu(self.middle(fine))
        coarse = functional.silu(self.coarse(middle))
        middle = functional.silu(self.to_middle(_above(coarse, middle)))
        fine = functional.silu(self.to_fine(_above(middle, fine)))
        low, high = self.bounds
        drawn: Tensor = low + (high - low) * torch.sigmoid(self.draw(fine))
        return drawn


class GeneratorPair(nn.Module):
    """The generator of similar images and the generator of adversarial images.

    Args:
        shape: (C, H, W) of the images.
        bounds: smallest and largest value of a pixel.

    Attributes:
        shape: as given.
        bounds: as given.
        similar: generator of images of the same class.
        adversarial: generator of images of another class.
    """

    def __init__(self, shape: tuple[int, ...], bounds: tuple[float, float]) -> None:
        super().__init__()
        self.shape = shape
        self.bounds = bounds
        self.similar = Generator(shape[0], bounds)
        self.adversarial = Generator(shape[0], bounds)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Generate a similar and an adversarial image for each of (N, C, H, W)."""
        return self.similar(images), self.adversarial(images)


def state_of(pair: GeneratorPair) -> dict[str, Tensor]:
    """Return the weights (in float32), the shape and the bounds as tensors, for `pair_of`."""
    weights = {name: value.detach().float() for name, value in pair.state_dict().items()}
    return {
        **weights,
        _SHAPE: torch.tensor(pair.shape),
        _BOUNDS: torch.tensor(pair.bounds, dtype=torch.float64),
    }


def pair_of(state: Mapping[str, Tensor]) -> GeneratorPair:
    """Return the generators of a state, on the CPU, in float32.

    The global random generator is not changed.

    Args:
        state: the result of `state_of`.

    Raises:
        KeyError: the images' shape or bounds are missing.
        RuntimeError: weights are missing, superfluous or of a wrong shape.
        ValueError: the shape is not (C, H, W), or there are not two bounds.
    """
    channels, height, width = state[_SHAPE].tolist()
    low, high = state[_BOUNDS].tolist()
    with torch.random.fork_rng(devices=[]):  # the random initial weights are replaced below
        pair = GeneratorPair((channels, height, width), (low, high)).float()
    weights = {name: value for name, value in state.items() if name not in {_SHAPE, _BOUNDS}}
    pair.load_state_dict(weights)
    return pair.eval().requires_grad_(requires_grad=False)


def _above(coarse: Tensor, fine: Tensor) -> Tensor:
    grown = functional.interpolate(coarse, size=fine.shape[2:], mode="nearest")
    return torch.cat([grown, fine], 1)
