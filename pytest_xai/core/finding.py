"""The finding of a check: one value and one limit per image, and how the two are compared.

Every comparison is written so that not-a-number never passes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Finding", "comparable", "within_limit", "worst_image"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check found on the images it was given.

    Attributes:
        values: the figure per image, (n,). NaN means that the image cannot be judged; it does
            not count.
        limits: the limit per image, (n,), or one limit for all images.
        value_range: smallest and largest possible value, for checks judged by a mean.
        limit_range: smallest and largest possible limit, for the same checks.
        facts: further numbers per image, (n,) each, by name. They are reported for the worst
            image and as means.
        tensors: what pictures need, (n, ...) each. They are kept for the worst image.
        left_out: number of images that were not counted, by reason.
        cause: the likely cause, should the check fail.
        notes: sentences that belong to the verdict whatever its outcome is.
    """

    values: Tensor
    limits: Tensor | float = 0.0
    value_range: tuple[float, float] = (0.0, 1.0)
    limit_range: tuple[float, float] = (0.0, 1.0)
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    cause: str = ""
    notes: tuple[str, ...] = ()


def within_limit(values: Tensor, limits: Tensor | float, direction: str) -> Tensor:
    """Say for each image whether its value keeps its limit, BoolTensor (n,); NaN never does."""
    return values <= limits if direction == "<=" else values >= limits


def comparable(values: Tensor, limits: Tensor | float) -> Tensor:
    """Say for each image whether its value and its limit can be compared, BoolTensor (n,).

    They cannot be compared if one of them is NaN or both are infinite.
    """
    return ~torch.isnan(values - limits)


def worst_image(values: Tensor, limits: Tensor, direction: str) -> int | None:
    """Return the position of the image that is furthest beyond its limit, or nearest to it.

    The excess is divided by the limit where the limit is neither zero nor infinite, because
    tolerances follow the size of an image's numbers. Images whose value cannot be compared with
    the limit do not count; the result is None if there are no others.
    """
    sign = 1.0 if direction == "<=" else -1.0
    has_size = (limits != 0) & torch.isfinite(limits)
    scale = torch.where(has_size, limits.abs(), torch.ones_like(limits))
    excess = sign * (values - limits) / scale
    usable = (~torch.isnan(excess)).nonzero().flatten()
    return int(usable[excess[usable].argmax()]) if len(usable) else None
