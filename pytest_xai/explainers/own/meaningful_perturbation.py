"""Meaningful perturbation: the smallest smooth deletion that lowers the probability."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import choice, number, whole
from pytest_xai.explainers.adapting.entry import SPATIAL, Entry
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.own.blurring import blurred, shifted
from pytest_xai.explainers.own.masking import probabilities, resized

__all__ = ["ENTRIES", "Deletion", "cost", "meaningful_perturbation"]

_PERTURBATIONS = ("blur", "baseline")
# The logit of the share that is deleted at first, 0.95. It is high, since the probability of an
# unperturbed input is often saturated and has no useful gradient.
_START = 3.0
# The constants of Adam, as in its paper and in torch.
_DECAY, _SQUARE_DECAY, _LEAST = 0.9, 0.999, 1e-8


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """The parameters of the optimisation of masks.

    Attributes:
        steps: number of updates of the mask.
        learning_rate: learning rate of Adam, for the logits of the shares that are deleted.
        l1: cost of deleting everything.
        tv: cost, per dimension, of a difference of 1 between all neighbouring cells.
        tv_power: power of these differences.
        cells: largest number of cells of the mask along each side.
        jitter: largest shift of the perturbed input along each side, in positions.
    """

    steps: int
    learning_rate: float
    l1: float
    tv: float
    tv_power: float
    cells: int
    jitter: int


def meaningful_perturbation(  # noqa: PLR0913  # keywords with a default, the paper's parameters
    *,
    steps: int = 100,
    learning_rate: float = 0.1,
    l1: float = 1.0,
    tv: float = 0.5,
    tv_power: float = 3.0,
    cells: int = 16,
    jitter: int = 0,
    perturb: str = "blur",
    sigma: float = 0.2,
) -> Callable[..., Tensor]:
    """The smallest smooth deletion that lowers the target's probability (Fong 2017, eq. 3 and 4).

    A mask m of few cells, interpolated linearly, shows the input x where it is 1 and the perturbed
    input x0 where it is 0. Adam minimises

        l1 mean(1 - m) + tv sum over dimensions of mean |step of m|^tv_power + p(m x + (1 - m) x0),

    where a step is the difference between neighbouring cells and p is the softmax probability of
    the target (the sigmoid of a single output), as in the paper. A probability lies between 0 and
    1, so the costs have the same meaning on every network, unlike with a logit. The map is 1 - m,
    (N, 1, *spatial), above 0 and below 1.

    The paper has sums over cells where this function has means, which do not depend on the number
    of cells. The paper's costs of 1e-4 and 1e-2 for 28 x 28 cells correspond to 0.08 and 8 here.
    The default costs and the stronger blur are meant for smaller images, where the deleted region
    is small. Other differences from the paper: m is a sigmoid of the variables that Adam updates
    instead of being clipped; m starts at 0.05 everywhere instead of with the smallest circle that
    lowers the score; the shifts run through all possible values instead of being random; the mask
    is not smoothed at the end.

    Args:
        steps: number of updates of the mask; 300 in the paper.
        learning_rate: learning rate of Adam, for the logits of m.
        l1: cost of deleting everything.
        tv: cost, per dimension, of a step of 1 between all neighbouring cells.
        tv_power: power of the steps, at least 1.
        cells: cells of the mask along each side, 28 in the paper; at most one per position is used.
        jitter: largest shift of the perturbed input along each side, in positions, with repeated
            edges; 4 in the paper.
        perturb: the perturbed input x0: ``"blur"``, or the subject's ``"baseline"``.
        sigma: standard deviation of the blur as a share of each side; 10 of 224 in the paper.

    Raises:
        InvalidArgument: ``steps`` or ``cells`` is not a positive integer, ``jitter`` is not an
            integer >= 0, another number is negative or not finite, ``tv_power`` is below 1, or
            ``perturb`` is unknown.
    """
    perturb = choice("perturb", perturb, _PERTURBATIONS)
    sigma = _at_least("sigma", sigma, 0.0)
    deletion = Deletion(
        steps=whole("steps", steps),
        learning_rate=_at_least("learning_rate", learning_rate, 0.0),
        l1=_at_least("l1", l1, 0.0),
        tv=_at_least("tv", tv, 0.0),
        tv_power=_at_least("tv_power", tv_power, 1.0),
        cells=whole("cells", cells),
        jitter=whole("jitter", jitter, least=0),
    )

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        values = inputs.detach()
        others = baseline.detach() if perturb == "baseline" else blurred(values, sigma)
        size = images_per_pass(inputs)
        parts = zip(
            values.split(size),
            others.expand_as(values).split(size),
            targets.split(size),
            strict=True,
        )
        return torch.cat([_deleted(model, *part, deletion) for part in parts])

    return explain


def _deleted(
    model: nn.Module, inputs: Tensor, others: Tensor, targets: Tensor, deletion: Deletion
) -> Tensor:
    """Return the share of each position that is deleted, (N, 1, *spatial)."""
    spatial = inputs.shape[2:]
    cells = [min(side, deletion.cells) for side in spatial]
    logits = inputs.new_full((len(inputs), 1, *cells), _START)
    mean = square = torch.zeros_like(logits)
    for step in range(deletion.steps):
        with torch.enable_grad():
            leaf = logits.requires_grad_()
            shares = leaf.sigmoid()
            mixed = torch.lerp(inputs, others, resized(shares, spatial))
            outputs = probabilities(model(shifted(mixed, step, deletion.jitter)))
            left = outputs.gather(1, targets[:, None])[:, 0]
            (gradient,) = torch.autograd.grad((left + cost(shares, deletion)).sum(), leaf)
        # Adam is written out here, since the import of torch's Adam loads torch's compiler.
        mean = _DECAY * mean + (1 - _DECAY) * gradient
        square = _SQUARE_DECAY * square + (1 - _SQUARE_DECAY) * gradient.square()
        size = (square / (1 - _SQUARE_DECAY ** (step + 1))).sqrt() + _LEAST
        update = mean / (1 - _DECAY ** (step + 1)) / size
        logits = logits.detach() - deletion.learning_rate * update
    return resized(logits.sigmoid(), spatial)


def cost(shares: Tensor, deletion: Deletion) -> Tensor:
    """Return the costs (N,) of a deletion, without the remaining probability.

    Args:
        shares: the share of each cell that is deleted, 1 - m: (N, 1, *cells) from 0 to 1.
        deletion: the parameters, which contain the costs.
    """
    total = deletion.l1 * shares.flatten(1).mean(1)
    for axis in range(2, shares.ndim):
        steps = shares.diff(dim=axis).abs().pow(deletion.tv_power)
        # The mean is over cells, since a side of one cell has no steps.
        total = total + deletion.tv * steps.flatten(1).sum(1) / shares[0].numel()
    return total


def _at_least(name: str, value: object, least: float) -> float:
    checked = number(name, value)
    if checked < least:
        raise InvalidArgument.of(name, got=repr(value), expected=f"a number >= {least:g}")
    return checked


ENTRIES = {
    "xai:MeaningfulPerturbation": Entry(
        factory=meaningful_perturbation,
        method="meaningful_perturbation",
        source="fong2017",
        cost="{steps} forward + {steps} backward",
        inputs=SPATIAL,
        needs_baseline=True,
    ),
}
