"""KernelExplainer of shap: Shapley values of blocks or features, by a weighted regression."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import whole
from pytest_xai.explainers.adapting.black_box import scores
from pytest_xai.explainers.adapting.blocks import blocks_of
from pytest_xai.explainers.adapting.draws import one_by_one
from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.shap.library import load, own_row

__all__ = ["ENTRIES", "kernel_explainer"]


def kernel_explainer(*, samples: int = 256, per_side: int | None = None) -> Callable[..., Tensor]:
    """Shapley values by a regression on coalitions of features (Lundberg 2017, theorem 2).

    The features of a table are its columns; those of other inputs are blocks of a grid over all
    channels. Absent features are set to the baseline. The value of a block is divided equally among
    its positions, so that maps (N, 1, *spatial) sum to f(x) - f(x'), which the regression enforces.
    All features are kept, whereas shap's default keeps the ten that a lasso selects.

    Args:
        samples: number of coalitions, not counting the empty and the full one. If fewer exist, all
            are used, and the values are exact.
        per_side: blocks per spatial side, at most one per position; None means 16 for signals, 4
            for images, 3 for volumes.

    Raises:
        InvalidArgument: ``samples`` or ``per_side`` is not a positive integer. When called: there
            are too few ``samples`` to determine a value for each feature.
    """
    samples = whole("samples", samples)
    per_side = None if per_side is None else whole("per_side", per_side)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        shap = load()
        blocks = blocks_of(inputs, per_side).cpu()
        count = int(blocks.max()) + 1
        if samples < min(count, 2**count - 2):
            raise _too_few(samples, count)

        asked: list[np.ndarray[Any, Any]] = []

        def one(image: slice) -> Tensor:
            row = own_row(baseline, image)
            shown = inputs[image].detach()

            def worth(coalitions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
                asked.append(coalitions)
                return _worth(model, shown, row, blocks, targets[image], coalitions)

            explainer = shap.KernelExplainer(worth, np.zeros((1, count)))
            values = _solved(explainer, samples, count)
            if image.start == 0 and not _determined(asked[-1]):  # the same for all images
                raise _too_few(samples, count)
            shares = torch.from_numpy(values / np.bincount(blocks.flatten().numpy()))[blocks]
            return shares[None] if inputs.ndim == 2 else shares[None, None]

        return one_by_one(len(inputs), one).to(inputs)

    return explain


def _worth(
    model: nn.Module,
    shown: Tensor,
    hidden: Tensor,
    blocks: Tensor,
    target: Tensor,
    coalitions: np.ndarray[Any, Any],
) -> np.ndarray[Any, Any]:
    """Return the explained outputs (n,) when only the blocks of each coalition (n, blocks) show."""
    at_once = images_per_pass(shown)
    parts = []
    for start in range(0, len(coalitions), at_once):
        present = torch.from_numpy(coalitions[start : start + at_once] > 0).to(shown.device)
        masks = present[:, blocks.to(shown.device)]
        points = torch.where(masks if shown.ndim == 2 else masks.unsqueeze(1), shown, hidden)
        parts.append(scores(model, points, target, at_once=at_once))
    return np.concatenate(parts)


def _solved(explainer: Any, samples: int, count: int) -> np.ndarray[Any, Any]:
    with warnings.catch_warnings():
        # `_determined` checks this by the rank; shap detects only some of the singular regressions.
        warnings.filterwarnings("ignore", "Linear regression equation is singular", UserWarning)
        values: np.ndarray[Any, Any] = explainer.shap_values(
            np.ones(count), nsamples=samples, l1_reg=False, silent=True
        )
    return values


def _determined(coalitions: np.ndarray[Any, Any]) -> bool:
    """Return whether the regression on these coalitions, with a given sum, has one solution."""
    free = coalitions[:, :-1] - coalitions[:, -1:]
    unknowns: int = free.shape[1]
    return unknowns == 0 or int(np.linalg.matrix_rank(free)) == unknowns


def _too_few(samples: int, count: int) -> InvalidArgument:
    return InvalidArgument.of(
        "samples",
        got=f"{samples} for {count} features",
        expected="several coalitions for each feature, or fewer features (option per_side)",
    )


ENTRIES = {
    "shap:KernelExplainer": Entry(
        factory=kernel_explainer,
        method="kernel_shap",
        source="lundberg2017",
        cost="2 + {samples} forward, or fewer if there are fewer coalitions",
        claims=(
            *claims("lundberg2017", "summation_to_delta", "implementation_invariance", "linearity"),
            *claims("lundberg2017", "sensitivity_a", "sign_convention"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
        ),
        sign="evidence",
        needs_baseline=True,
        stochastic=True,
    ),
}
