"""Explainers of captum that run DeepLIFT with one reference or with several."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.entry import Claim, Entry, claims
from pytest_xai.explainers.adapting.module_watch import no_functional
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass
from pytest_xai.explainers.captum.deep_lift_network import hook_data_removed, linear_between
from pytest_xai.explainers.captum.features import reference_set, references_like
from pytest_xai.explainers.captum.rules import without_hook_warnings

__all__ = ["ENTRIES", "deep_lift", "deep_lift_shap", "rescaled"]

# The modules for which captum's DeepLift has a rule, and the functions that they call.
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
    nn.MaxPool2d), on overlapping pooling and on nn.Softmax.

    Raises:
        InvalidArgument: when called: the model calls nonlinearities as functions.
        NotApplicable: when called: the model uses a module twice, or applies operations without a
            rule to its activations (GELU, products, group normalisation).
    """

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        with rescaled(model):
            maps: Tensor = captum.DeepLift(model).attribute(
                fresh(inputs), baselines=baseline.detach(), target=targets
            )
        return maps.detach()

    return explain


def deep_lift_shap(*, references: Tensor | None = None) -> Callable[..., Tensor]:
    """The mean of DeepLIFT's maps over a set of references (Lundberg 2017, sec. 4.2).

    It is wrong on the networks on which captum's DeepLift is. With the baseline as the only
    reference it equals DeepLift.

    Args:
        references: the references (R, *shape), or None for the baseline alone.

    Raises:
        InvalidArgument: ``references`` is not such a tensor. When called: the references have
            another shape than the inputs, or the model calls nonlinearities as functions.
        NotApplicable: as for DeepLift.
    """
    references = reference_set("references", references)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        shared = baseline.detach() if references is None else references_like(references, inputs)
        # If there is a baseline per image, each is the reference of its own image.
        own = references is None and len(shared) > 1
        step = 1 if own else max(1, images_per_pass(inputs) // (2 * len(shared)))
        maps = []
        for start in range(0, len(inputs), step):
            rows = slice(start, start + step)
            pool = shared[rows] if own else shared
            # captum requires at least two references.
            pool = pool.repeat(2, *(1,) * (pool.ndim - 1)) if len(pool) == 1 else pool
            with rescaled(model):
                part: Tensor = captum.DeepLiftShap(model).attribute(
                    fresh(inputs[rows]), baselines=pool, target=targets[rows]
                )
            maps.append(part.detach())
        return torch.cat(maps)

    return explain


@contextmanager
def rescaled(model: nn.Module) -> Iterator[None]:
    """Check, while captum's DeepLift runs inside the context, that it supports the model.

    Raises:
        InvalidArgument: on leaving: a nonlinearity was called as a function.
        NotApplicable: the network uses a module twice, or applies an operation that is not linear
            and for which captum has no rule.
    """
    watched = no_functional(
        model,
        _RESCALED_FUNCTIONS,
        rule="DeepLift",
        # captum also checks for the exact type.
        covers=lambda module: type(module) in _RESCALED_MODULES,
    )
    try:
        with (
            without_hook_warnings(),
            watched,
            hook_data_removed(model),
            linear_between(model, _RESCALED_FUNCTIONS),
        ):
            yield
    except RuntimeError as error:
        if "used more than once" not in str(error):
            raise
        raise NotApplicable(
            "captum's DeepLift does not support networks that use a module twice; give each use a "
            f"module of its own: {str(error).partition(' was detected')[0]}"
        ) from error


ENTRIES = {
    "captum:DeepLift": Entry(
        factory=deep_lift,
        method="deep_lift_rescale",
        source="shrikumar2017",
        cost="2 forward + 2 backward",
        claims=(
            *claims("shrikumar2017", "summation_to_delta", "dummy_feature", "linearity"),
            *claims("sundararajan2017", "sensitivity_a", "symmetry"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
            *claims("montavon2018", "translation_equivariance"),
            *claims("shrikumar2017", "sign_convention"),
        ),
        sign="evidence",
        needs_baseline=True,
    ),
    "captum:DeepLiftShap": Entry(
        factory=deep_lift_shap,
        method="deep_lift_rescale",
        source="lundberg2017",
        cost="2 forward + 2 backward for each reference (at least two)",
        claims=(
            *claims("lundberg2017", "dummy_feature", "linearity"),
            *(
                Claim(check=check, source="lundberg2017", when={"references": None})
                for check in (
                    *("summation_to_delta", "sensitivity_a", "symmetry", "shift_invariance"),
                    *("positive_homogeneity", "translation_equivariance", "sign_convention"),
                )
            ),
        ),
        sign="evidence",
        needs_baseline=True,
    ),
}
