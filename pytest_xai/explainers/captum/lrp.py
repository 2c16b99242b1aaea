"""Layer-wise relevance propagation of captum, on networks that it can follow."""

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
from pytest_xai.explainers.captum.lrp_network import examine, followable

__all__ = ["ENTRIES", "lrp"]

_RULES = ("epsilon", "gamma", "alpha1beta0")


def lrp(
    *, rule: str = "epsilon", epsilon: float | None = None, gamma: float = 0.25
) -> Callable[..., Tensor]:
    """Relevance handed back from layer to layer by one rule (Bach 2015; Montavon 2019, sec. 2).

    The rule is that of nn.Linear and nn.Conv2d; pooling and batch normalisation always have the
    epsilon rule. captum adds no multiple of gamma to biases, which the paper does.

    captum knows few modules (no nn.Conv1d, nn.Conv3d, nn.BatchNorm1d, nn.LeakyReLU, nn.GELU), and
    hands relevance through functions as their gradient would, which is right only for those that
    move values. nn.Flatten and nn.Identity, which do, are made known to it on a copy of the model.

    Args:
        rule: "epsilon", "gamma" or "alpha1beta0"; the last two ask for layers whose inputs are
            not negative, since captum changes the weights by their own sign.
        epsilon: stabiliser of the epsilon rule, at least 0; it takes relevance away. None: so
            little that it is lost in rounding, 1e-9 in float32 and 1e-18 in float64.
        gamma: by how much the gamma rule favours positive weights, at least 0.

    Raises:
        InvalidArgument: an option outside its range. When called: functions where captum has a rule
            for modules only, such as ``F.relu``.
        NotApplicable: when called: other modules or functions, a module that is used twice,
            negative inputs of a layer for the rules that ask for none.
    """
    rule = choice("rule", rule, _RULES)
    for name, value in (("epsilon", epsilon), ("gamma", gamma)):
        if value is not None and number(name, value) < 0:
            raise InvalidArgument.of(name, got=repr(value), expected="a number >= 0")

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        copied = followable(model)
        examine(copied, inputs, signs_matter=rule != "epsilon")
        least = _least(inputs)
        own = partial(_captums, rule, least if epsilon is None else epsilon, gamma)
        _put_rules(copied, own, partial(_captums, "epsilon", least, gamma))
        try:
            maps: Tensor = captum.LRP(copied).attribute(fresh(inputs), target=targets)
        except TypeError as error:
            if "has no rule defined" not in str(error):
                raise
            raise NotApplicable(_unknown_modules(copied, str(error))) from error
        return maps.detach()

    return explain


def _least(inputs: Tensor) -> float:
    """A stabiliser that what is divided by it hardly ever feels."""
    return 1e-18 if inputs.dtype == torch.float64 else 1e-9


def _put_rules(model: nn.Module, own: Callable[[], Any], other: Callable[[], Any]) -> None:
    """Give each module its rule: captum's own has an epsilon of 1e-9, and is forgotten with a call.

    Args:
        model: what `followable` returned.
        own: makes the rule of nn.Linear and nn.Conv2d; a rule keeps what its module did.
        other: makes that of pooling and batch normalisation.
    """
    known = require("captum.attr._core.lrp", extra="captum").SUPPORTED_LAYERS_WITH_RULES
    for module in model.modules():
        if type(module) in (nn.Linear, nn.Conv2d):
            module.rule = own()
        elif type(module) in known:
            module.rule = other()


def _captums(rule: str, epsilon: float, gamma: float) -> Any:
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
                condition="less what biases absorb; an epsilon of its own takes relevance away",
                when={"rule": "epsilon", "epsilon": None},
            ),
        ),
    ),
}
