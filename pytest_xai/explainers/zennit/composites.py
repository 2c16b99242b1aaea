"""Presets that choose a rule by layer, deep Taylor decomposition and excitation backpropagation."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import choice, number
from pytest_xai.explainers.adapting.entry import Claim, Entry, Variant, claims
from pytest_xai.explainers.zennit.box import bounds, z_box
from pytest_xai.explainers.zennit.relevance import propagated
from pytest_xai.explainers.zennit.rules import Layer, Rules, exact
from pytest_xai.explainers.zennit.single import positive

__all__ = [
    "ENTRIES",
    "deep_taylor",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
    "epsilon_plus",
    "epsilon_plus_flat",
    "excitation_backprop",
]

Explain = Callable[..., Tensor]
_Choose = Callable[[Any, Layer], Any]
_DOMAINS = ("pixels", "real", "positive")


def epsilon_plus(*, epsilon: float = 1e-6) -> Explain:
    """Preset: z-plus in convolutions, epsilon in dense layers (Kohlbrenner 2020).

    Args:
        epsilon: stabiliser of the dense layers, in units of their outputs, > 0.

    Raises:
        InvalidArgument: ``epsilon`` is not a finite number > 0.
    """
    return _preset(epsilon, _z_plus)


def epsilon_plus_flat(*, epsilon: float = 1e-6) -> Explain:
    """EpsilonPlus with the flat rule in the first layer (Kohlbrenner 2020).

    The first layer is the one that reads the inputs when the model runs; it may be dense.
    ``epsilon`` is as for `epsilon_plus`.
    """
    return _preset(epsilon, _z_plus, first=_flat)


def epsilon_alpha2_beta1(*, epsilon: float = 1e-6) -> Explain:
    """Preset: alpha 2, beta 1 in convolutions, epsilon in dense layers (Kohlbrenner 2020).

    ``epsilon`` is as for `epsilon_plus`.
    """
    return _preset(epsilon, _alpha2_beta1)


def epsilon_alpha2_beta1_flat(*, epsilon: float = 1e-6) -> Explain:
    """EpsilonAlpha2Beta1 with the flat rule in the first layer (Kohlbrenner 2020).

    The first layer is the one that reads the inputs when the model runs; it may be dense.
    ``epsilon`` is as for `epsilon_plus`.
    """
    return _preset(epsilon, _alpha2_beta1, first=_flat)


def epsilon_gamma_box(
    *,
    low: float | None = None,
    high: float | None = None,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
) -> Explain:
    """z-box in the first convolution, gamma in others, epsilon in dense layers (Montavon 2019).

    If the network begins with a dense layer, that layer has the epsilon rule, and no layer has the
    z-box rule.

    Args:
        low: smallest value that the first layer may read, the same for all channels: the lower
            bound of the subject, unless the model normalises its inputs. None takes the smallest
            value of each image, so that a map does not depend on other images.
        high: likewise the largest value.
        epsilon: stabiliser of the dense layers, > 0.
        gamma: additional weight of positive weights in the convolutions, >= 0.

    Raises:
        InvalidArgument: an option is outside its range. When called: the first layer reads a value
            outside the bounds.
    """
    box = bounds(low, high)
    value = number("gamma", gamma)
    if value < 0:
        raise InvalidArgument.of("gamma", got=repr(gamma), expected="a number >= 0")

    def first(rules: Any, layer: Layer) -> Any:
        return z_box(rules, layer, box) if layer.convolution else None

    return _preset(
        epsilon, lambda rules, _: rules.Gamma(gamma=value, stabilizer=exact), first=first
    )


def deep_taylor(
    *, domain: str = "pixels", low: float | None = None, high: float | None = None
) -> Explain:
    """Deep Taylor decomposition: z-plus, with a first-layer rule per domain (Montavon 2017).

    Biases receive no relevance, as in the paper.

    Args:
        domain: domain of the inputs, which selects the rule of the first layer: "pixels" for
            bounded values (z-box), "real" (w-squared) or "positive" (z-plus).
        low: smallest value that the first layer may read, for "pixels". None takes the smallest
            value of each image.
        high: likewise the largest value.

    Raises:
        InvalidArgument: ``domain`` is unknown, or a bound is wrong or given for another domain.
            When called: the first layer reads a value outside the bounds, or below 0 for
            "positive".
    """
    domain = choice("domain", domain, _DOMAINS)
    box = bounds(low, high)
    if domain != "pixels" and box != (None, None):
        raise InvalidArgument.of(
            "domain", got=repr(domain), expected='"pixels" if low or high is given'
        )

    def choose(rules: Any, layer: Layer) -> Any:
        if layer.first and domain == "pixels":
            return z_box(rules, layer, box)
        if layer.first and domain == "real":
            return rules.WSquare(stabilizer=exact, zero_params=["bias"])
        if layer.first and bool((layer.inputs < 0).any()):
            raise InvalidArgument.of(
                "domain", got=repr(domain), expected='"pixels" or "real" for negative inputs'
            )
        return rules.ZPlus(stabilizer=exact, zero_params=["bias"])

    return _explainer(Rules(layer=choose))


def excitation_backprop() -> Explain:
    """Winning probabilities, propagated from 1 at the target back to the inputs (Zhang 2018).

    It is z-plus without biases and starts with 1 instead of the target's output. A map sums to 1 if
    every neuron that relevance reaches has a positive summand. The paper assumes activations that
    are not negative. Where negative activations are averaged or added, as in residual networks,
    zennit divides relevance in proportion to the summands, and values below 0 and above 1 occur.
    """
    rules = Rules(layer=lambda rules, _: rules.ZPlus(stabilizer=exact, zero_params=["bias"]))
    return _explainer(rules, ones=True)


def _z_plus(rules: Any, _: Layer) -> Any:
    return rules.ZPlus(stabilizer=exact)


def _alpha2_beta1(rules: Any, _: Layer) -> Any:
    return rules.AlphaBeta(alpha=2.0, beta=1.0, stabilizer=exact)


def _flat(rules: Any, _: Layer) -> Any:
    return rules.Flat(stabilizer=exact)


def _preset(epsilon: object, convolution: _Choose, *, first: _Choose | None = None) -> Explain:
    value = positive("epsilon", epsilon)

    def choose(rules: Any, layer: Layer) -> Any:
        rule = first(rules, layer) if layer.first and first is not None else None
        if rule is not None:
            return rule
        return convolution(rules, layer) if layer.convolution else rules.Epsilon(epsilon=value)

    return _explainer(Rules(layer=choose))


def _explainer(rules: Rules, *, ones: bool = False) -> Explain:
    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return propagated(model, inputs, targets, rules, ones=ones)

    return explain


# The truth "deep_taylor" is for the domain of pixels.
_DOMAIN_VARIANTS = (
    Variant(method="deep_taylor_real", when={"domain": "real"}),
    Variant(method="deep_taylor_positive", when={"domain": "positive"}),
)


def _entry(factory: Callable[..., Explain], method: str, source: str, *own_claims: Claim) -> Entry:
    return Entry(
        factory=factory,
        method=method,
        variants=_DOMAIN_VARIANTS if factory is deep_taylor else (),
        source=source,
        cost="1 forward + 1 backward",
        claims=(*own_claims, *_PLACES),
        sign="non_negative",
    )


_DUMMY = claims("bach2015", "dummy_feature")
# No rule depends on the position of a neuron.
_PLACES = (
    *claims("sundararajan2017", "symmetry"),
    *claims("montavon2018", "translation_equivariance"),
)
_CONSERVES = Claim(
    check="relevance_conservation",
    source="montavon2017",
    # The rules of the other domains lose relevance at first-layer neurons with positive bias only.
    condition="no neuron after the first layer is active because of its bias alone",
    when={"domain": "real"},
)

ENTRIES = {
    "zennit:EpsilonPlus": _entry(epsilon_plus, "lrp", "kohlbrenner2020", *_DUMMY),
    "zennit:EpsilonPlusFlat": _entry(epsilon_plus_flat, "lrp", "kohlbrenner2020"),
    "zennit:EpsilonAlpha2Beta1": _entry(epsilon_alpha2_beta1, "lrp", "kohlbrenner2020", *_DUMMY),
    "zennit:EpsilonAlpha2Beta1Flat": _entry(epsilon_alpha2_beta1_flat, "lrp", "kohlbrenner2020"),
    "zennit:EpsilonGammaBox": _entry(epsilon_gamma_box, "lrp", "montavon2019", *_DUMMY),
    "zennit:DTD": _entry(
        deep_taylor,
        "deep_taylor",
        "montavon2017",
        _CONSERVES,
        *claims("montavon2017", "dummy_feature"),
        # The bounds of a box do not scale with the input.
        Claim(check="positive_homogeneity", source="ancona2018", when={"domain": "real"}),
    ),
    "zennit:ExcitationBackprop": _entry(
        excitation_backprop,
        "excitation_backprop",
        "zhang2018",
        # sign_convention is not claimed, since values are >= 0 only on networks that do not add or
        # average negative activations.
        *claims("zhang2018", "dummy_feature"),
    ),
}
