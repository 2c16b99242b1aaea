"""Explainers of captum that replace the gradient of modules: DeepLIFT, guided and deconvolution."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from pytest_xai.explainers.module_watch import no_functional
from pytest_xai.explainers.passes import fresh
from pytest_xai.optional import require

__all__ = ["deconvolution", "deep_lift", "guided_backprop"]

# The functions behind the modules that captum's DeepLift has a rule for. Others (GELU, SiLU) have
# none, as functions or as modules: there it uses the gradient, and summation_to_delta tells.
_RESCALED_MODULES = (
    nn.ReLU,
    nn.ELU,
    nn.LeakyReLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.Softmax,
)
_RESCALED_FUNCTIONS = (
    *("relu", "relu_", "elu", "elu_", "leaky_relu", "leaky_relu_"),
    *("sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "softmax"),
    *("max_pool1d", "max_pool2d", "max_pool3d"),
    *("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"),
)


def deep_lift() -> Callable[..., Tensor]:
    """Differences to the baseline, propagated by the Rescale rule (Shrikumar 2017, sec. 3.5.2).

    captum 0.9.0 gives wrong maps where one nonlinear module feeds another (nn.ReLU before
    nn.MaxPool2d), on overlapping pooling and on nn.Softmax; a module used twice raises.
    """

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        watched = no_functional(
            model,
            _RESCALED_FUNCTIONS,
            rule="DeepLift",
            # captum asks for the exact type as well.
            covers=lambda module: type(module) in _RESCALED_MODULES,
        )
        with _without_hook_warnings(), watched:
            maps: Tensor = captum.DeepLift(model).attribute(
                fresh(inputs), baselines=baseline.detach(), target=targets
            )
        return maps.detach()

    return explain


def guided_backprop() -> Callable[..., Tensor]:
    """The gradient whose negative part every ReLU drops as well (Springenberg 2015).

    captum's map is wrong where the input tensor of a ReLU feeds another branch too, as in
    pre-activation residual blocks.
    """
    return _modified_relu("GuidedBackprop")


def deconvolution() -> Callable[..., Tensor]:
    """The gradient with every ReLU's mask replaced by a ReLU backwards (Zeiler 2014, sec. 2.1)."""
    return _modified_relu("Deconvolution")


def _modified_relu(method: str) -> Callable[..., Tensor]:
    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        watched = no_functional(
            model,
            ("relu", "relu_"),
            rule=method,
            covers=lambda module: isinstance(module, nn.ReLU),
        )
        with _without_hook_warnings(), watched:
            maps: Tensor = getattr(captum, method)(model).attribute(fresh(inputs), target=targets)
        return maps.detach()

    return explain


@contextmanager
def _without_hook_warnings() -> Iterator[None]:
    # captum announces at every call that it sets hooks and will remove them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Setting (forward, )?backward hooks", UserWarning)
        yield
