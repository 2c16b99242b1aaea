"""Compares maps before and after an attack, with noise of the same size as the reference.

Two questions are kept apart. While the prediction stays the same, the map must stay similar. The
checks assert this at the end of the attack or, if the attack changes the prediction, at the last
point before it changes. Where the prediction changes, the maps of the original and of the new class
are measured and reported only, because it is not known how much they ought to change.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from pytest_xai.attacks.boundary import before_the_boundary
from pytest_xai.attacks.noise import noise_like
from pytest_xai.attacks.verified import Attacked
from pytest_xai.bench.bench import Bench
from pytest_xai.core.finding import Finding
from pytest_xai.measures import (
    centre_of_mass_shift,
    dice,
    iou,
    spatial,
    spearman,
    ssim,
    topk_intersection,
)
from pytest_xai.measures.reference_maps import halfway, unrelated
from pytest_xai.protocol import NamedExplainer

__all__ = ["CLAIM", "EPSILON", "FIGURE", "LIMIT_SOURCE", "Protocol", "dice_under_attack"]

# A change of 8 of 256 grey levels: the usual size at which people see no difference.
EPSILON = 8 / 255
CLAIM = (
    "For most images, as long as the prediction stays the same, the similarity of the maps before "
    "and after the attack is closer to that under noise of the same size than to that of the maps "
    "of two images."
)
LIMIT_SOURCE = (
    "Halfway between the Dice after random noise of the same size and the Dice of the maps of two "
    "images; the Dice after noise if it is smaller."
)
FIGURE = "Dice of the top 10 % of the map before and after the attack"

Protocol = Literal["held", "boundary", "galli"]


def dice_under_attack(
    bench: Bench, explainer: NamedExplainer, found: Attacked, *, protocol: Protocol = "held"
) -> Finding:
    """Measure the Dice of the top 10 % of the map before and after an attack, per image.

    The figure follows Galli et al. 2021; the share of 10 % and both references are our choice. The
    noise is the attack's own perturbation shuffled over the elements, so that it has the same size
    in every norm.

    Args:
        bench: of the images.
        explainer: makes the maps.
        found: the images after the attack, with new predictions.
        protocol: the point at which the map is compared. "held": the end of the attack, or the
            last point before the prediction changes on the straight line to the end. "boundary":
            the same, for attacks that look for the smallest change of the prediction; images
            without one do not count. "galli": the end of the attack, where the prediction changed;
            the map before is that of the target, the map after is that of the new class. Images
            that are misclassified before the attack never count.
    """
    point = found if protocol == "galli" else before_the_boundary(bench, found)
    noise = noise_like(bench, point)
    before = bench.maps(explainer)
    end = bench.explain(explainer, found.inputs)
    noisy = bench.explain(explainer, noise.inputs)
    new = after = end
    if found.flipped.any():
        new = bench.explain(explainer, found.inputs, _explained(bench, found))
        after = new if protocol == "galli" else bench.explain(explainer, point.inputs)
    value, under_noise = _dice(before, after), _dice(before, noisy)
    null = unrelated(spatial(before), bench.targets, dice)
    counted, left_out = _counted(found, point, noise, protocol)
    undefined = counted & (value + under_noise + null).isnan()
    changed = found.correct & found.within & found.flipped
    return Finding(
        values=_only(counted, value),
        # If noise already leaves less than unrelated maps share, no more than that is required.
        limits=torch.minimum(halfway(under_noise, null), under_noise),
        facts={
            "Dice after noise of the same size": _only(counted, under_noise),
            "Dice of unrelated maps": _only(counted, null),
            **{name: _only(counted, each) for name, each in _similarities(before, after).items()},
            "size of the perturbation": _only(counted, point.size),
            "share of predictions changed": _only(
                found.correct & found.within, found.flipped.double()
            ),
            "Dice for the original class where the prediction changed": _only(
                changed, _dice(before, end)
            ),
            "Dice for the new class where the prediction changed": _only(
                changed, _dice(before, new)
            ),
        },
        tensors={
            "input": bench.inputs,
            "adversarial input": point.inputs,
            "map": spatial(before),
            "map after the attack": spatial(after),
            "map after noise": spatial(noisy),
        },
        left_out={**left_out, "constant maps": int(undefined.sum())},
        cause="The attack changes the map more than noise of the same size does: imperceptible "
        "changes of the input decide which pixels are the most important.",
    )


def _explained(bench: Bench, found: Attacked) -> Tensor:
    """Return the new prediction; a single output has no other class to explain."""
    return bench.targets if bench.classes == 1 else found.predicted


def _dice(before: Tensor, after: Tensor) -> Tensor:
    return dice(spatial(before), spatial(after))


def _similarities(before: Tensor, after: Tensor) -> Mapping[str, Tensor]:
    """Return further similarities of the maps; tables have no spatial ones."""
    a, b = spatial(before), spatial(after)
    found = {
        "IoU": iou(a, b),
        "intersection of the top 20 %": topk_intersection(a, b, fraction=0.2),
        "rank correlation": spearman(a, b),
    }
    if before.ndim > 2:
        found |= {
            "SSIM": ssim(before, after),
            "shift of the centre of mass": centre_of_mass_shift(before, after),
        }
    return found


def _counted(
    found: Attacked, point: Attacked, noise: Attacked, protocol: Protocol
) -> tuple[Tensor, dict[str, int]]:
    """Return which images count, and how many do not, by the first reason that applies."""
    reasons = {
        "misclassified before the attack": ~found.correct,
        "attack beyond its budget or the bounds": ~(found.within & point.within),
    }
    if protocol != "held":
        reasons["attack did not change the prediction"] = ~found.flipped
    if protocol != "galli":
        reasons["prediction changed before the boundary"] = point.flipped
        reasons["noise of the same size changed the prediction"] = noise.flipped
    counted, left_out = torch.ones_like(found.correct), {}
    for reason, applies in reasons.items():
        left_out[reason] = int((counted & applies).sum())
        counted = counted & ~applies
    return counted, left_out


def _only(counted: Tensor, values: Tensor) -> Tensor:
    return torch.where(counted, values, torch.nan)
