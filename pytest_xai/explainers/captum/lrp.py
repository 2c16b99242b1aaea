"""Layer-wise relevance propagation of captum, on networks that it supports."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting.arguments import choice, number
from pytest_xai.explainers.adapting.entry import Claim, Entry, Variant, claims
from pytest_xai.explainers.adapting.passes import fresh
from pytest_xai.explainers.captum.lrp_network import examine, supported_copy

__all__ = ["ENTRIES", "lrp"]

_RULES = ("epsilon", "gamma", "alpha1beta0")


def lrp(
    *, rule: str = "epsilon", epsilon: float | None = None, gamma: float = 0.25
) -> Callable[..., Tensor]:
    """Relevance propagated back layer by layer with one rule (Bach 2015; Montavon 2019, sec. 2).

    The rule applies to nn.Linear and nn.Conv2d; pooling and batch normalisation always use the
    epsilon rule. Unlike the paper, captum does not apply gamma to biases.

    captum supports few modules (not nn.Conv1d, nn.Conv3d, nn.BatchNorm1d, nn.LeakyReLU, nn.GELU).
    It propagates relevance through functions by their gradient, which is right only for functions
    that move values. nn.Flatten and nn.Identity are replaced by modules that captum supports, on a
    copy of the model.

    Args:
        rule: "epsilon", "gamma" or "alpha1beta0". The last two require layers whose inputs are not
            negative, since captum selects weights by the sign of the weight alone.
        epsilon: stabiliser of the epsilon rule, at least 0; it absorbs relevance. None takes a
            value that has no effect beyond rounding: 1e-9 in float32 and 1e-18 in float64.
        gamma: additional weight of positive weights in the gamma rule, at least 0.

    Raises:
        InvalidArgument: an option is outside its range. When called: the model calls functions,
            such as ``F.relu``, for which captum has a rule only as modules.
        NotApplicable: when called: the model has other modules or functions or uses a module twice,
            or a layer has negative inputs under a rule that requires them to be >= 0.
    """
    rule = choice("rule", rule, _RULES)
    for name, value in (("epsilon", epsilon), ("gamma", gamma)):
        if value is not None and number(name, value) < 0:
            raise InvalidArgument.of(name, got=repr(value), expected="a number >= 0")

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        copied = supported_copy(model)
        examine(copied, inputs, signs_matter=rule != "epsilon")
        least = _least(inputs)
        own = partial(_rule, rule, least if epsilon is None else epsilon, gamma)
        _set_rules(copied, own, partial(_rule, "epsilon", least, gamma))
        try:
            maps: Tensor = captum.LRP(copied).attribute(fresh(inputs), target=targets)
        except TypeError as error:
            if "has no rule defined" not in str(error):
                raise
            raise NotApplicable(_unknown_modules(copied, str(error))) from error
        return maps.detach()

    return explain


def _least(inputs: Tensor) -> float:
    """Return a stabiliser that is too small to change a denominator beyond rounding."""
    return 1e-18 if inputs.dtype == torch.float64 else 1e-9


def _set_rules(model: nn.Module, own: Callable[[], Any], other: Callable[[], Any]) -> None:
    """Set a new rule on each module, instead of captum's default rule with an epsilon of 1e-9.

    Each module needs a rule of its own, since a rule stores values of its module's run.

    Args:
        model: the model that `supported_copy` returned.
        own: makes the rule of nn.Linear and nn.Conv2d.
        other: makes the rule of pooling and batch normalisation.
    """
    known = require("captum.attr._core.lrp", extra="captum").SUPPORTED_LAYERS_WITH_RULES
    for module in model.modules():
        if type(module) in (nn.Linear, nn.Conv2d):
            module.rule = own()
        elif type(module) in known:
            module.rule = other()


def _rule(rule: str, epsilon: float, gamma: float) -> Any:
    rules = require("captum.attr._utils.lrp_rules", extra="captum")
    if rule == "epsilon":
        return rules.EpsilonRule(epsilon)
    if rule == "gamma":
        return rules.GammaRule(gamma)
    return rules.Alpha1_Beta0_Rule(set_bias_to_zero=True)


def _unknown_modules(model: nn.Module, message: str) -> str:
    names = [
        f"{name.removeprefix('0.')} ({type(module).__name__})"
        for name, module in model.named_modules()
        if str(type(module)) in message
    ]
    return f"captum's LRP has no rule for modules of this type: {', '.join(names)}"


ENTRIES = {
    "captum:LRP": Entry(
        factory=lrp,
        method="lrp",
        variants=(
            Variant(method="lrp_zero", when={"rule": "epsilon", "epsilon": None}),
            Variant(method="lrp_epsilon", when={"rule": "epsilon", "epsilon": 1e-6}),
            Variant(method="lrp_gamma", when={"rule": "gamma", "gamma": 0.25}),
            Variant(method="lrp_z_plus", when={"rule": "alpha1beta0"}),
        ),
        source="bach2015",
        cost="3 forward + 1 backward",
        # captum has no rule for nn.Conv1d and nn.Conv3d.
        inputs=frozenset({"table", "image"}),
        claims=(
            *claims("bach2015", "dummy_feature"),
            Claim(
                check="relevance_conservation",
                source="bach2015",
                condition="the relevance that biases absorb is taken into account",
                when={"rule": "epsilon", "epsilon": None},
            ),
        ),
    ),
}
