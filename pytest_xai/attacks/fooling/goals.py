"""Goals of attacks on maps: the loss to minimise and the similarity that is reported."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.errors import NotApplicable
from pytest_xai.measures import centre_of_mass_shift, l1_distance, topk_intersection, topk_mask
from pytest_xai.measures.reference_maps import other_images

__all__ = ["FRACTION", "Goal", "mass_centre", "one_channel", "target_map", "top_values"]

# Share of the values of a map that count as its top values.
FRACTION = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """The goal of an attack on the maps of some images.

    Attributes:
        figure: name of the quantity ``kept``.
        reference: a map for each image to compare with, (n, 1, *spatial) or (n, features).
        loss: takes differentiable maps and the references; the loss that the attack minimises,
            (n,).
        kept: takes maps and the references; the remaining similarity, float64 (n,), which need
            not be smooth.
        undone: value of ``kept`` after a completely successful attack, (n,).
    """

    figure: str
    reference: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    kept: Callable[[Tensor, Tensor], Tensor]
    undone: Tensor


def top_values(maps: Tensor, targets: Tensor) -> Goal:
    """Make other pixels the most important ones (Ghorbani et al. 2019, "top-k").

    ``kept`` is the share of the largest 20 % that are still among the largest 20 %; ``undone`` is
    this share for unrelated maps.

    Args:
        maps: before the attack, (n, *shape).
        targets: LongTensor (n,).

    Raises:
        NotApplicable: there is only one image, and so no unrelated map.
    """
    reference = one_channel(maps)
    return Goal(
        figure="share of the top 20 % kept",
        reference=reference,
        loss=_mass_on_top,
        kept=_top_kept,
        undone=_top_kept(reference, reference[other_images(targets)]),
    )


def mass_centre(maps: Tensor, targets: Tensor) -> Goal:
    """Move the centre of mass of the map (Ghorbani et al. 2019, "mass centre").

    ``kept`` is 1 minus the shift of the centre of the absolute values as a share of the diagonal;
    ``undone`` is this value for maps of different images.

    Args:
        maps: before the attack, (n, C, *spatial).
        targets: LongTensor (n,).

    Raises:
        NotApplicable: the inputs are tables, which have no positions, or there is only one image.
    """
    if maps.ndim < 3:
        raise NotApplicable("the map of a table has no centre")
    reference = one_channel(maps)
    return Goal(
        figure="nearness to the map's centre of mass",
        reference=reference,
        loss=lambda now, before: -torch.linalg.vector_norm(_centre(now) - _centre(before), dim=1),
        kept=_centre_kept,
        undone=_centre_kept(reference, reference[other_images(targets)]),
    )


def target_map(maps: Tensor, targets: Tensor) -> Goal:
    """Make the map similar to the map of another image (Dombrowski et al. 2019, equation 3).

    ``kept`` is the share of the mass that lies elsewhere than in the other image's map; ``undone``
    is 0.

    Args:
        maps: before the attack, (n, *shape).
        targets: LongTensor (n,); the other image is the next image with another target.

    Raises:
        NotApplicable: there is only one image.
    """
    reference = one_channel(maps)[other_images(targets)]
    return Goal(
        figure="distance kept from the other image's map",
        reference=reference,
        loss=lambda now, other: (_shares(now) - _shares(other)).square().flatten(1).sum(1),
        kept=l1_distance,
        undone=torch.zeros(len(maps), dtype=torch.float64, device=maps.device),
    )


def one_channel(maps: Tensor) -> Tensor:
    """Sum over the channels and keep their axis, (n, 1, *spatial); tables and graphs are kept."""
    return maps.sum(1, keepdim=True) if maps.ndim > 2 else maps


def _top_kept(maps: Tensor, before: Tensor) -> Tensor:
    return topk_intersection(maps, before, fraction=FRACTION)


def _centre_kept(maps: Tensor, before: Tensor) -> Tensor:
    return 1 - centre_of_mass_shift(maps, before)


def _mass_on_top(maps: Tensor, before: Tensor) -> Tensor:
    top = topk_mask(before, FRACTION)
    return (_shares(maps) * top).flatten(1).sum(1)


def _shares(maps: Tensor) -> Tensor:
    """Divide each map by the sum of its absolute values; zeros stay zeros."""
    total = maps.abs().flatten(1).sum(1).clamp(min=torch.finfo(maps.dtype).tiny)
    return maps / total.reshape(-1, *[1] * (maps.ndim - 1))


def _centre(maps: Tensor) -> Tensor:
    """Return the centre of the absolute values along each axis, as a share of the diagonal."""
    shares = _shares(maps).abs()
    diagonal = max(math.hypot(*(side - 1 for side in maps.shape[2:])), 1.0)
    centres = []
    for axis in range(2, maps.ndim):
        others = [each for each in range(1, maps.ndim) if each != axis]
        along = shares.sum(others)
        centres.append((along * torch.arange(maps.shape[axis]).to(along)).sum(1) / diagonal)
    return torch.stack(centres, 1)
