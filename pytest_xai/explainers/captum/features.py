"""What perturbation explainers switch on and off together: blocks of a grid, or superpixels."""

import torch
from torch import Tensor

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting.blocks import blocks_of

__all__ = ["features_of", "reference_set", "references_like", "sizes", "superpixels"]

# Blocks per side by the number of spatial dimensions: 32 of a signal, 64 of an image or a volume.
_BLOCKS = {1: 32, 2: 8, 3: 4}


def features_of(inputs: Tensor, blocks: int | None, *, per_channel: bool = False) -> Tensor:
    """The number of the feature that each place belongs to, counted from 0.

    Args:
        inputs: (N, *shape).
        blocks: blocks along each side, as even as whole places allow, at most one per place;
            None: 32 of a signal, 8 x 8 of an image, 4 x 4 x 4 of a volume. Each column of inputs
            (N, features) is a feature, whatever is said here.
        per_channel: a block is one of one channel; False: of all channels together.

    Returns:
        (1, 1, *spatial), with ``per_channel`` (1, C, *spatial), (1, features) for a table.
    """
    numbers = blocks_of(inputs, blocks, defaults=_BLOCKS)
    if inputs.ndim == 2:
        return numbers.unsqueeze(0)
    if per_channel:
        channels = torch.arange(inputs.shape[1], device=inputs.device)
        channels = channels.reshape(-1, *(1,) * numbers.ndim)
        return (channels * (numbers.max() + 1) + numbers).unsqueeze(0)
    return numbers[None, None]


def superpixels(image: Tensor, segments: int) -> Tensor:
    """The superpixel of each pixel, from scikit-image's SLIC (Achanta 2012).

    Args:
        image: (1, C, H, W); three channels are taken for colours.
        segments: about how many; it may become more or fewer.

    Returns:
        (1, 1, H, W), counted from 0 without gaps.

    Raises:
        MissingDependency: scikit-image is not installed.
        NotApplicable: the input is no image.
    """
    segmentation = require("skimage.segmentation", extra="lime")
    if image.ndim != 4:
        raise NotApplicable("superpixels are made of images only; use features='blocks'")
    colours = image.shape[1] == 3
    values = image[0].detach().movedim(0, -1).cpu().double()
    # Compactness and Lab mean values between 0 and 1.
    values = (values - values.min()) / (values.max() - values.min()).clamp(min=1e-12)
    labels = segmentation.slic(
        values.numpy(),
        n_segments=segments,
        # Colour distances in Lab are about a hundred times those of values between 0 and 1.
        compactness=10.0 if colours else 0.1,
        convert2lab=colours,
        channel_axis=-1,
        start_label=0,
    )
    numbers: Tensor = torch.as_tensor(labels, device=image.device).unique(return_inverse=True)[1]
    return numbers[None, None]


def sizes(features: Tensor) -> Tensor:
    """How many places the feature of each place has.

    Args:
        features: as `features_of` returns them.
    """
    return torch.bincount(features.flatten())[features]


def reference_set(name: str, value: object) -> Tensor | None:
    """An option that holds other inputs, or None.

    Raises:
        InvalidArgument: neither None nor a floating tensor with a row at least.
    """
    if value is None:
        return None
    if isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2:
        if len(value):
            return value.detach().clone()
        got = f"a tensor of shape {tuple(value.shape)}"
    else:
        got = type(value).__name__
    raise InvalidArgument.of(
        name, got=got, expected="a floating tensor (R, *shape) of at least one input, or None"
    )


def references_like(references: Tensor, inputs: Tensor) -> Tensor:
    """The references in the inputs' dtype and on their device.

    Raises:
        InvalidArgument: they are not of the inputs' shape.
    """
    if references.shape[1:] != inputs.shape[1:]:
        raise InvalidArgument.of(
            "references",
            got=f"inputs of shape {tuple(references.shape[1:])}",
            expected=f"the shape of what is explained, {tuple(inputs.shape[1:])}",
        )
    return references.to(inputs)
