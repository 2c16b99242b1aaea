"""Explainers of captum that replace the gradient of ReLU: GuidedBackprop and Deconvolution."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.adapting.module_watch import no_functional
from pytest_xai.explainers.adapting.passes import fresh

__all__ = [
    "ENTRIES",
    "deconvolution",
    "guided_backprop",
    "relus_replaced",
    "without_hook_warnings",
]


def guided_backprop() -> Callable[..., Tensor]:
    """The gradient, where each ReLU also sets negative gradients to zero (Springenberg 2015).

    captum's map is wrong if the input tensor of a ReLU also feeds another branch, as in
    pre-activation residual blocks.
    """
    return _modified_relu("GuidedBackprop")


def deconvolution() -> Callable[..., Tensor]:
    """Backpropagation where each ReLU is applied to the gradient itself (Zeiler 2014, sec. 2.1)."""
    return _modified_relu("Deconvolution")


def _modified_relu(method: str) -> Callable[..., Tensor]:
    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        with relus_replaced(model, method):
            maps: Tensor = getattr(captum, method)(model).attribute(fresh(inputs), target=targets)
        return maps.detach()

    return explain


@contextmanager
def relus_replaced(model: nn.Module, method: str) -> Iterator[None]:
    """Check, while captum replaces the gradient of ReLU inside, that all ReLUs are modules.

    Raises:
        InvalidArgument: on leaving: a ReLU was called as a function.
    """
    watched = no_functional(
        model,
        ("relu", "relu_"),
        rule=method,
        covers=lambda module: isinstance(module, nn.ReLU),
    )
    with without_hook_warnings(), watched:
        yield


@contextmanager
def without_hook_warnings() -> Iterator[None]:
    """Suppress captum's warning at every call that it sets hooks and will remove them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Setting (forward, )?backward hooks", UserWarning)
        yield


ENTRIES = {
    "captum:GuidedBackprop": Entry(
        factory=guided_backprop,
        method="guided_backprop",
        source="springenberg2015",
        cost="1 forward + 1 backward",
        claims=(
            *claims("springenberg2015", "dummy_feature"),
            *claims("sundararajan2017", "symmetry"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
            *claims("montavon2018", "translation_equivariance"),
        ),
    ),
    "captum:Deconvolution": Entry(
        factory=deconvolution,
        method="deconvolution",
        source="zeiler2014",
        cost="1 forward + 1 backward",
        claims=(
            *claims("zeiler2014", "dummy_feature"),
            *claims("sundararajan2017", "symmetry"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
            *claims("montavon2018", "translation_equivariance"),
        ),
    ),
}
