"""What an attack on a map wants: the loss that it follows, and the similarity that counts."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.errors import NotApplicable
from pytest_xai.measures import centre_of_mass_shift, l1_distance, topk_intersection, topk_mask
from pytest_xai.measures.reference_maps import other_images

__all__ = ["FRACTION", "Goal", "mass_centre", "one_channel", "target_map", "top_values"]

# Share of the values that count as the largest ones of a map.
FRACTION = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What an attack on the maps of some images is after.

    Attributes:
        figure: what ``kept`` measures, in words.
        reference: the map of each image that the goal is about, (n, 1, *spatial) or (n, features).
        loss: of maps with a graph and their references, (n,): what an attack makes small.
        kept: of maps and their references, float64 (n,): what is left of the map, which may not
            be smooth.
        undone: what ``kept`` is where the attack has all it wants, (n,).
    """

    figure: str
    reference: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    kept: Callable[[Tensor, Tensor], Tensor]
    undone: Tensor


def top_values(maps: Tensor, targets: Tensor) -> Goal:
    """Other pixels shall be the most important ones (Ghorbani et al. 2019, "top-k").

    Kept is the share of the largest 20 % that still are; undone is what unrelated maps share.

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
    """The map's mass shall lie elsewhere (Ghorbani et al. 2019, "mass centre").

    Kept is 1 less the shift of the centre of the absolute values as a share of the diagonal;
    undone is what is kept from one image's map to another's.

    Args:
        maps: before the attack, (n, C, *spatial).
        targets: LongTensor (n,).

    Raises:
        NotApplicable: the inputs are tables, which have no places, or there is only one image.
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
    """The map shall be that of another image (Dombrowski et al. 2019, equation 3).

    Kept is the share of the mass that lies elsewhere than in the other image's map; undone is 0.

    Args:
        maps: before the attack, (n, *shape).
        targets: LongTensor (n,); the other image is the next one of another target.

    Raises:
        NotApplicable: there is only one image.
    """
    reference = one_channel(maps)[other_images(targets)]
    return Goal(
        figure="distance kept from the other image's map",
        reference=reference,
        loss=lambda now, wanted: (_shares(now) - _shares(wanted)).square().flatten(1).sum(1),
        kept=l1_distance,
        undone=torch.zeros(len(maps), dtype=torch.float64, device=maps.device),
    )


def one_channel(maps: Tensor) -> Tensor:
    """Sum the channels but keep their axis, (n, 1, *spatial); tables stay. Keeps the graph."""
    return maps.sum(1, keepdim=True) if maps.ndim > 2 else maps


def _top_kept(maps: Tensor, before: Tensor) -> Tensor:
    return topk_intersection(maps, before, fraction=FRACTION)


def _centre_kept(maps: Tensor, before: Tensor) -> Tensor:
    return 1 - centre_of_mass_shift(maps, before)


def _mass_on_top(maps: Tensor, before: Tensor) -> Tensor:
    top = topk_mask(before, FRACTION)
    return (_shares(maps) * top).flatten(1).sum(1)


def _shares(maps: Tensor) -> Tensor:
    """Each map over the sum of its absolute values; zeros stay zeros."""
    total = maps.abs().flatten(1).sum(1).clamp(min=torch.finfo(maps.dtype).tiny)
    return maps / total.reshape(-1, *[1] * (maps.ndim - 1))


def _centre(maps: Tensor) -> Tensor:
    """Mean place of the absolute values along each axis, as a share of the diagonal."""
    shares = _shares(maps).abs()
    diagonal = max(math.hypot(*(side - 1 for side in maps.shape[2:])), 1.0)
    centres = []
    for axis in range(2, maps.ndim):
        others = [each for each in range(1, maps.ndim) if each != axis]
        along = shares.sum(others)
        centres.append((along * torch.arange(maps.shape[axis]).to(along)).sum(1) / diagonal)
    return torch.stack(centres, 1)
