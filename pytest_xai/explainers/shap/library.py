"""What all explainers of shap need: the library itself, and a model with one output."""

import copy
import random
import warnings
from types import ModuleType

from torch import Tensor, nn

from pytest_xai.core.optional import require

__all__ = ["OneOutput", "load", "own_row"]


def load() -> ModuleType:
    """Import shap without a word, and without a draw from Python's generator.

    Raises:
        MissingDependency: it is not installed.
    """
    state = random.getstate()
    try:
        with warnings.catch_warnings():
            # Its plots bring matplotlib, which announces what will change.
            warnings.simplefilter("ignore")
            return require("shap", extra="shap")
    finally:
        random.setstate(state)


def own_row(baseline: Tensor, image: slice) -> Tensor:
    """The background (1, *shape) of one image, detached.

    Args:
        baseline: (1 or N, *shape).
        image: of length one.
    """
    rows = baseline if len(baseline) == 1 else baseline[image]
    return rows.detach()


class OneOutput(nn.Module):
    """A copy of a model whose only output is one class, (N, 1), so that no other is explained.

    shap switches modes, deletes gradients and leaves attributes: none of it reaches the original.

    Args:
        model: maps (N, *shape) to (N, classes).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        self.target = 0
        self.last: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the target's output, and keep it."""
        outputs: Tensor = self.model(inputs)
        column = outputs[:, self.target : self.target + 1]
        self.last = column.detach()
        return column
