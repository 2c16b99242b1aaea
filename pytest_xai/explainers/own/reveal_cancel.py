"""DeepLIFT with the rules RevealCancel and Rescale, for modules and functions."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.own.contributions import Contributions

__all__ = ["ENTRIES", "deep_lift_rescale", "deep_lift_reveal_cancel"]


def deep_lift_reveal_cancel() -> Callable[..., Tensor]:
    """Differences to the baseline, with both signs kept apart (Shrikumar 2017, sec. 3.5.3).

    The positive input differences of a neuron get the mean of their effects on its output before
    and after the negative differences are added, and vice versa: the Shapley value for two
    players. If two contributions cancel, both appear in the map, whereas Rescale and gradients show
    neither.

    The rules cover linear layers and convolutions, also transposed ones; elementwise functions from
    ReLU to GELU; pooling by mean or maximum; batch normalisation in evaluation mode; sums,
    constants and reshaping. All of these may be modules or functions, in place, or used repeatedly.
    The difference of a maximum is assigned, by Rescale, to one position of each window: that of the
    larger of the two maxima, at input and baseline.

    The model runs once on inputs and baselines. The rules take about twice as long as that.

    Raises:
        NotApplicable: when called: the model uses an operation without a rule, such as a softmax or
            a product of activations.
    """
    return _deep_lift(cancelling=True)


def deep_lift_rescale() -> Callable[..., Tensor]:
    """Differences to the baseline, propagated by the Rescale rule (Shrikumar 2017, sec. 3.5.2).

    It supports the networks that `deep_lift_reveal_cancel` supports. Maps sum to the difference of
    the outputs also for a ReLU before a max-pool, overlapping max-pools, functions, and modules
    that are used repeatedly.

    Raises:
        NotApplicable: when called: the model uses an operation without a rule, such as a softmax or
            a product of activations.
    """
    return _deep_lift(cancelling=False)


def _deep_lift(*, cancelling: bool) -> Callable[..., Tensor]:
    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        references = baseline.detach().expand_as(inputs)
        # Inputs and references go through the model together.
        size = max(1, images_per_pass(inputs) // 2)
        chunks = zip(
            inputs.detach().split(size), references.split(size), targets.split(size), strict=True
        )
        return torch.cat([_contributions(model, *chunk, cancelling=cancelling) for chunk in chunks])

    return explain


def _contributions(
    model: nn.Module, inputs: Tensor, references: Tensor, targets: Tensor, *, cancelling: bool
) -> Tensor:
    with torch.enable_grad():
        difference = (inputs - references).requires_grad_()
        zeros = torch.zeros_like(difference)
        parts = [difference.where(difference > 0, zeros), difference.where(difference < 0, zeros)]
        start = Contributions.of(
            torch.cat([inputs, references]), torch.cat(parts), cancelling=cancelling
        )
        outputs = model(start)
        if not isinstance(outputs, Contributions):
            raise NotApplicable(
                "the model's output does not come from its input through operations that torch "
                "reports"
            )
        # The target is used twice: for the rows of inputs and for those of references.
        total = outputs.parts.gather(1, targets.repeat(2)[:, None]).sum()
        multipliers = _gradient(total, difference)
    maps = multipliers * difference.detach()
    _require_sum(maps, outputs.as_subclass(Tensor), targets)
    return maps


def _gradient(total: Tensor, difference: Tensor) -> Tensor:
    if not total.requires_grad:
        return torch.zeros_like(difference)
    (gradient,) = torch.autograd.grad(total, difference, allow_unused=True)
    return torch.zeros_like(difference) if gradient is None else gradient


def _require_sum(maps: Tensor, outputs: Tensor, targets: Tensor) -> None:
    """Refuse a wrong sum: the model mixes images, or changes memory without torch's knowledge."""
    at, reference = outputs.gather(1, targets.repeat(2)[:, None])[:, 0].chunk(2)
    gap = (maps.flatten(1).sum(1) - (at - reference)).abs()
    size = maps.flatten(1).abs().sum(1) + at.abs() + reference.abs()
    # Half of the digits: rounding errors are far smaller, a lost contribution is larger.
    if (gap > torch.finfo(gap.dtype).eps ** 0.5 * size).any():
        raise NotApplicable(
            "the contributions do not add up to the difference of the outputs: the model mixes "
            "images of a batch, or changes activations in a way that torch does not report"
        )


_CLAIMS = (
    *claims("shrikumar2017", "summation_to_delta", "dummy_feature", "linearity"),
    *claims("sundararajan2017", "sensitivity_a", "symmetry"),
    *claims("kindermans2019", "shift_invariance"),
    *claims("ancona2018", "positive_homogeneity"),
    *claims("montavon2018", "translation_equivariance"),
    *claims("shrikumar2017", "sign_convention"),
)

ENTRIES = {
    "xai:DeepLiftRevealCancel": Entry(
        factory=deep_lift_reveal_cancel,
        method="deep_lift_reveal_cancel",
        source="shrikumar2017",
        cost="2 forward",
        claims=_CLAIMS,
        sign="evidence",
        needs_baseline=True,
    ),
    "xai:DeepLiftRescale": Entry(
        factory=deep_lift_rescale,
        method="deep_lift_rescale",
        source="shrikumar2017",
        cost="2 forward",
        claims=_CLAIMS,
        sign="evidence",
        needs_baseline=True,
    ),
}
