"""The features that perturbation explainers replace together: blocks of a grid, or superpixels."""

import torch
from torch import Tensor

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting.blocks import blocks_of

__all__ = ["features_of", "reference_set", "references_like", "sizes", "superpixels"]

# Blocks per side by the number of spatial dimensions: a signal has 32, an image or volume 64.
_BLOCKS = {1: 32, 2: 8, 3: 4}


def features_of(inputs: Tensor, blocks: int | None, *, per_channel: bool = False) -> Tensor:
    """Return the number of the feature that each position belongs to, counted from 0.

    Args:
        inputs: (N, *shape).
        blocks: blocks along each side, of equal length up to rounding, at most one per position.
            None gives 32 blocks for signals, 8 x 8 for images, 4 x 4 x 4 for volumes. It has no
            effect on inputs (N, features), where each column is a feature.
        per_channel: True if each block covers a single channel, False if it covers all channels.

    Returns:
        (1, 1, *spatial), or (1, C, *spatial) with ``per_channel``, or (1, features) for a table.
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
    """Return the number of the superpixel of each pixel, by scikit-image's SLIC (Achanta 2012).

    Args:
        image: (1, C, H, W); three channels are treated as red, green and blue.
        segments: approximate number of superpixels.

    Returns:
        (1, 1, H, W), counted from 0 without gaps.

    Raises:
        MissingDependency: scikit-image is not installed.
        NotApplicable: the input is not an image.
    """
    segmentation = require("skimage.segmentation", extra="lime")
    if image.ndim != 4:
        raise NotApplicable("superpixels exist for images only; use features='blocks'")
    colours = image.shape[1] == 3
    values = image[0].detach().movedim(0, -1).cpu().double()
    # The compactness below and the conversion to Lab assume values between 0 and 1.
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
    """Return, for each position, the number of positions that belong to the same feature.

    Args:
        features: the result of `features_of`.
    """
    return torch.bincount(features.flatten())[features]


def reference_set(name: str, value: object) -> Tensor | None:
    """Return a copy of an option that holds reference inputs, or None.

    Raises:
        InvalidArgument: it is neither None nor a floating-point tensor of at least one row.
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
        name, got=got, expected="a floating-point tensor (R, *shape) of at least one input, or None"
    )


def references_like(references: Tensor, inputs: Tensor) -> Tensor:
    """Return the references in the dtype and on the device of the inputs.

    Raises:
        InvalidArgument: the references and the inputs differ in shape.
    """
    if references.shape[1:] != inputs.shape[1:]:
        raise InvalidArgument.of(
            "references",
            got=f"inputs of shape {tuple(references.shape[1:])}",
            expected=f"the shape of the inputs that are explained, {tuple(inputs.shape[1:])}",
        )
    return references.to(inputs)
