"""Explainers of zennit that replace the gradient of ReLU: GuidedBackprop and Deconvnet."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_xai.core.optional import require
from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.adapting.module_watch import no_functional
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass
from pytest_xai.explainers.zennit.calls import (
    Call,
    active,
    attached,
    frozen,
    in_place,
    name_of,
    released,
)

__all__ = ["ENTRIES", "deconvnet", "guided_backprop"]


def guided_backprop() -> Callable[..., Tensor]:
    """The gradient, where each ReLU also sets negative gradients to zero (Springenberg 2015).

    Each ReLU must be an nn.ReLU module. It may run more than once, and its input may be read by
    other modules.
    """
    return _modified_relu("ReLUGuidedBackprop", "GuidedBackprop")


def deconvnet() -> Callable[..., Tensor]:
    """Backpropagation where each ReLU is applied to the gradient itself (Zeiler 2014, sec. 2.1).

    Each ReLU must be an nn.ReLU module. It may run more than once, and its input may be read by
    other modules.
    """
    return _modified_relu("ReLUDeconvNet", "Deconvnet")


def _modified_relu(rule: str, method: str) -> Callable[..., Tensor]:
    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        size = images_per_pass(inputs)
        parts = zip(inputs.split(size), targets.split(size), strict=True)
        return torch.cat([_one_pass(model, *part, rule, method) for part in parts])

    return explain


def _one_pass(model: nn.Module, inputs: Tensor, targets: Tensor, rule: str, method: str) -> Tensor:
    given = fresh(inputs)
    mode = _Rectifiers(rule)
    watched = no_functional(
        model,
        ("relu", "relu_"),
        rule=method,
        covers=lambda module: isinstance(module, nn.ReLU),
    )
    with frozen(model), released(mode.live):
        with watched, mode:
            # A copy, since the first ReLU may work in place.
            outputs = model(given.clone())
        (maps,) = torch.autograd.grad(outputs.gather(1, targets[:, None]).sum(), given)
    return maps.detach()


class _Rectifiers(TorchFunctionMode):
    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = getattr(require("zennit.rules", extra="zennit"), rule)
        self.live: list[Any] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if name_of(func) != "relu" or not args or not active(args[0]):
            return func(*args, **kwargs)
        call = Call(lambda inputs: func(inputs, *args[1:], **kwargs))
        result = attached(call, self.rule(), args[0], live=self.live)
        # zennit rectifies a copy, so the result is written to the original for its other readers.
        return args[0].copy_(result) if in_place(func, kwargs) else result


_CLAIMS = (
    *claims("sundararajan2017", "symmetry"),
    *claims("kindermans2019", "shift_invariance"),
    *claims("ancona2018", "positive_homogeneity"),
    *claims("montavon2018", "translation_equivariance"),
)

ENTRIES = {
    "zennit:GuidedBackprop": Entry(
        factory=guided_backprop,
        method="guided_backprop",
        source="springenberg2015",
        cost="1 forward + 1 backward",
        claims=(*claims("springenberg2015", "dummy_feature"), *_CLAIMS),
    ),
    "zennit:Deconvnet": Entry(
        factory=deconvnet,
        method="deconvolution",
        source="zeiler2014",
        cost="1 forward + 1 backward",
        claims=(*claims("zeiler2014", "dummy_feature"), *_CLAIMS),
    ),
}
