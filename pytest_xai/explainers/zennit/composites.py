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
    """The preset of z-plus in convolutions, epsilon in dense layers (Kohlbrenner 2020).

    Args:
        epsilon: of the dense layers, > 0.

    Raises:
        InvalidArgument: ``epsilon`` is no finite number > 0.
    """
    return _preset(epsilon, _z_plus)


def epsilon_plus_flat(*, epsilon: float = 1e-6) -> Explain:
    """EpsilonPlus with equal parts in the first layer (Kohlbrenner 2020).

    The first layer is whichever reads the inputs when the model runs, a dense one included.

    Args:
        epsilon: of the dense layers, > 0.

    Raises:
        InvalidArgument: ``epsilon`` is no finite number > 0.
    """
    return _preset(epsilon, _z_plus, first=_flat)


def epsilon_alpha2_beta1(*, epsilon: float = 1e-6) -> Explain:
    """The preset of alpha 2 beta 1 in convolutions, epsilon in dense layers (Kohlbrenner 2020).

    Args:
        epsilon: of the dense layers, > 0.

    Raises:
        InvalidArgument: ``epsilon`` is no finite number > 0.
    """
    return _preset(epsilon, _alpha2_beta1)


def epsilon_alpha2_beta1_flat(*, epsilon: float = 1e-6) -> Explain:
    """EpsilonAlpha2Beta1 with equal parts in the first layer (Kohlbrenner 2020).

    The first layer is whichever reads the inputs when the model runs, a dense one included.

    Args:
        epsilon: of the dense layers, > 0.

    Raises:
        InvalidArgument: ``epsilon`` is no finite number > 0.
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

    A network that begins with a dense layer has no layer for the box: there it is the epsilon rule.

    Args:
        low: least value that the first layer may read, the same for all channels: the subject's
            bounds, unless the model normalises its inputs. None: each image's own least value, so
            that a map never depends on other images.
        high: likewise the largest.
        epsilon: of the dense layers, > 0.
        gamma: of the convolutions, >= 0.

    Raises:
        InvalidArgument: an option is out of its range; when called, the first layer reads a value
            beyond the bounds.
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
    """Deep Taylor decomposition: z-plus, and a first layer's rule for its inputs (Montavon 2017).

    Biases take no share, as in the paper.

    Args:
        domain: of the inputs: "pixels" (bounded: z-box), "real" (w-squared) or "positive" (z-plus).
        low: least value that the first layer may read, for "pixels". None: each image's own.
        high: likewise the largest.

    Raises:
        InvalidArgument: ``domain`` is unknown, or a bound is wrong or given for another domain;
            when called, the first layer reads a value beyond the bounds, or below 0 for "positive".
    """
    domain = choice("domain", domain, _DOMAINS)
    box = bounds(low, high)
    if domain != "pixels" and box != (None, None):
        raise InvalidArgument.of("domain", got=repr(domain), expected='"pixels" for low and high')

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
    """Probabilities of winning, from 1 at the target down to the inputs (Zhang 2018).

    It is z-plus without biases that starts with 1 in place of the target's output, so that a map
    sums to 1 where each reached neuron has a positive summand. The paper's activations are not
    negative: where negative ones are averaged or added, as in residual networks, zennit shares out
    by the sum, and there are values below 0 and above 1.
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


# The truth "deep_taylor" is that of pixels.
_DOMAIN_VARIANTS = (
    Variant(method="deep_taylor_real", when={"domain": "real"}),
    Variant(method="deep_taylor_positive", when={"domain": "positive"}),
)


def _entry(factory: Callable[..., Explain], method: str, source: str, *promises: Claim) -> Entry:
    return Entry(
        factory=factory,
        method=method,
        variants=_DOMAIN_VARIANTS if factory is deep_taylor else (),
        source=source,
        cost="1 forward + 1 backward",
        claims=(*promises, *_PLACES),
        sign="non_negative",
    )


_DUMMY = claims("bach2015", "dummy_feature")
# No rule looks at where a neuron is.
_PLACES = (
    *claims("sundararajan2017", "symmetry"),
    *claims("montavon2018", "translation_equivariance"),
)
_CONSERVES = Claim(
    check="relevance_conservation",
    source="montavon2017",
    # The other domains' rules lose what a first layer's neurons get whose bias alone is positive.
    condition="above the first layer, no neuron is active by its bias alone",
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
        # A box of pixels has a size of its own.
        Claim(check="positive_homogeneity", source="ancona2018", when={"domain": "real"}),
    ),
    "zennit:ExcitationBackprop": _entry(
        excitation_backprop,
        "excitation_backprop",
        "zhang2018",
        # Not the sign_convention: values are >= 0 on networks alone that add and average no
        # negative activations.
        *claims("zhang2018", "dummy_feature"),
    ),
}
