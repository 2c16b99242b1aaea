"""DeepExplainer of shap: DeepLIFT's Rescale rule against the subject's baseline."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.entry import Claim, Entry, claims
from pytest_xai.explainers.adapting.module_watch import no_functional
from pytest_xai.explainers.shap.library import OneOutput, load, own_row

__all__ = ["ENTRIES", "deep_explainer"]

# shap recognises modules by the names of their classes.
_RESCALED_MODULES = frozenset(
    (
        *("ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "Sigmoid", "Tanh", "Softplus", "Softmax"),
        *("MaxPool1d", "MaxPool2d", "MaxPool3d"),
    )
)
_RESCALED_FUNCTIONS = (
    *("relu", "relu_", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "selu_", "gelu"),
    *("sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "softmax"),
    *("max_pool1d", "max_pool2d", "max_pool3d"),
    *("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"),
)
# Tolerance as a share of the summed terms. shap uses the gradient where a difference is below 1e-6,
# which causes errors in float64 as well. Wrong rules cause errors of a tenth or more; shap itself
# tolerates an absolute error of 0.01.
_GAP = 1e-4


def deep_explainer() -> Callable[..., Tensor]:
    """Differences to the baseline, propagated by DeepLIFT's Rescale rule (Lundberg 2017, sec. 4.2).

    The background of each image is its row of the baseline. shap gives wrong maps for overlapping
    pooling, nn.Softmax and modules without a rule, so maps with a wrong sum are refused.

    Raises:
        InvalidArgument: when called: the model calls a nonlinearity as a function.
        NotApplicable: when called: a max-pool is dilated, a nonlinear module runs more than once
            in a pass, or shap's maps do not sum to the difference of the outputs.
    """

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        shap = load()
        _refuse_dilation(model)
        network = OneOutput(model)
        for module in network.modules():
            if getattr(module, "inplace", False):
                # It would overwrite the input, by whose difference the rule divides.
                setattr(module, "inplace", False)  # noqa: B010  # no type says that it is there
        watched = no_functional(
            network, _RESCALED_FUNCTIONS, rule="DeepExplainer", covers=_has_rule
        )
        maps, outputs = [], []
        failure: RuntimeError | None = None
        with torch.enable_grad(), _quietly(), watched, _each_once(network):
            try:
                for index, target in enumerate(targets.tolist()):
                    image = slice(index, index + 1)
                    network.target = target
                    explainer = shap.DeepExplainer(network, own_row(baseline, image))
                    values = explainer.shap_values(inputs[image].detach(), check_additivity=False)
                    maps.append(torch.as_tensor(values[..., 0]).to(inputs))
                    outputs.append(network.last)
            except RuntimeError as error:
                # Backward hooks fail on functions that work in place.
                failure = error
        # Raised after the watch, whose error names the cause more exactly.
        if failure is not None:
            raise failure
        for found, ends in zip(maps, outputs, strict=True):
            _require_sum(found, ends)
        return torch.cat(maps)

    return explain


def _has_rule(module: nn.Module) -> bool:
    return type(module).__name__ in _RESCALED_MODULES


def _refuse_dilation(model: nn.Module) -> None:
    """Refuse dilated max-pools, since the unpooling in shap's rule does not support dilation."""
    for name, module in model.named_modules():
        if isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d):
            sides = module.dilation if isinstance(module.dilation, tuple) else (module.dilation,)
            if max(sides) > 1:
                raise NotApplicable(
                    f"shap's DeepExplainer does not support dilated max-pools, and {name!r} is one"
                )


def _require_sum(maps: Tensor, outputs: Tensor | None) -> None:
    """Refuse a map whose sum is not the difference of the outputs at image and baseline."""
    assert outputs is not None
    output, reference = outputs.flatten().tolist()
    total = float(maps.double().sum())
    size = float(maps.double().abs().sum()) + abs(output) + abs(reference)
    gap = abs(total - (output - reference))
    if gap > _GAP * size:
        raise NotApplicable(
            f"shap's DeepExplainer is wrong on this network: its values sum to {total:.6g}, but "
            f"f(x) - f(x') is {output - reference:.6g} (gap {gap:.2g}). It has no correct rule for "
            "overlapping max-pools, nn.Softmax and some other modules"
        )


@contextmanager
def _each_once(network: OneOutput) -> Iterator[None]:
    """Refuse passes in which a module with a rule runs twice, as shap keeps only its last input."""
    seen: set[str] = set()
    handles = [network.register_forward_pre_hook(lambda *_: seen.clear())]
    for name, module in network.model.named_modules():
        if not _has_rule(module):
            continue

        def note(_: nn.Module, __: object, name: str = name) -> None:
            if name in seen:
                raise NotApplicable(
                    f"shap's DeepExplainer does not support a network in which a module runs more "
                    f"than once in a pass, as {name!r} does; give each use a module of its own"
                )
            seen.add(name)

        handles.append(module.register_forward_pre_hook(note))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _quietly() -> Iterator[None]:
    # Instead of shap's warning about modules without a rule, the sum of the map is checked.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unrecognized nn.Module", UserWarning)
        warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
        yield


ENTRIES = {
    "shap:DeepExplainer": Entry(
        factory=deep_explainer,
        method="deep_lift_rescale",
        source="lundberg2017",
        cost="3 forward + 2 backward",
        claims=(
            Claim(check="summation_to_delta", source="lundberg2017"),
            Claim(check="dummy_feature", source="shrikumar2017"),
            Claim(check="linearity", source="shrikumar2017"),
            *claims("sundararajan2017", "sensitivity_a", "symmetry"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
            *claims("montavon2018", "translation_equivariance"),
            *claims("shrikumar2017", "sign_convention"),
        ),
        sign="evidence",
        needs_baseline=True,
    ),
}
