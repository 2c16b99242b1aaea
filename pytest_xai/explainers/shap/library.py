"""Helpers for all explainers of shap: loading the library, and a model with one output."""

import copy
import random
import warnings
from types import ModuleType

from torch import Tensor, nn

from pytest_xai.core.optional import require

__all__ = ["OneOutput", "load", "own_row"]


def load() -> ModuleType:
    """Import shap without warnings and without changing the state of Python's random generator.

    Raises:
        MissingDependency: shap is not installed.
    """
    state = random.getstate()
    try:
        with warnings.catch_warnings():
            # shap imports matplotlib, which emits deprecation warnings.
            warnings.simplefilter("ignore")
            return require("shap", extra="shap")
    finally:
        random.setstate(state)


def own_row(baseline: Tensor, image: slice) -> Tensor:
    """Return the background (1, *shape) of one image, detached.

    Args:
        baseline: (1 or N, *shape).
        image: a slice of length one.
    """
    rows = baseline if len(baseline) == 1 else baseline[image]
    return rows.detach()


class OneOutput(nn.Module):
    """A copy of a model that outputs a single class, (N, 1), so that only this class is explained.

    shap switches modes, deletes gradients and sets attributes, all of which affects only the copy.

    Args:
        model: maps (N, *shape) to (N, classes).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        self.target = 0
        self.last: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the target's output, and store it in ``last``."""
        outputs: Tensor = self.model(inputs)
        column = outputs[:, self.target : self.target + 1]
        self.last = column.detach()
        return column
