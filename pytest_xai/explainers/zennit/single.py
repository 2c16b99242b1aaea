"""Explainers that use one rule in all layers, or one in the first layer and z-plus after it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import flag, number
from pytest_xai.explainers.adapting.entry import Claim, Entry, Variant, claims
from pytest_xai.explainers.zennit.box import bounds, z_box
from pytest_xai.explainers.zennit.relevance import propagated
from pytest_xai.explainers.zennit.rules import Layer, Rules, exact

__all__ = [
    "ENTRIES",
    "alpha_beta",
    "flat",
    "lrp_epsilon",
    "lrp_gamma",
    "lrp_zero",
    "w_square",
    "z_box_first",
    "z_plus",
]

Explain = Callable[..., Tensor]


def lrp_zero(*, biases: bool = True) -> Explain:
    """LRP-0: relevance is divided in proportion to the summands a_j w_jk (Bach 2015, eq. 56).

    On ReLU networks it equals the input times the gradient, also with biases (Ancona 2018).
    It has no stabiliser: a neuron whose value is exactly 0 passes no relevance on.

    Args:
        biases: True if biases receive their share of the relevance. If False, the inputs receive
            all of it; maps are then unstable where a neuron is active because of its bias alone,
            since the denominator is near 0.

    Raises:
        InvalidArgument: ``biases`` is not a boolean.
    """
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(layer=lambda rules, _: rules.Epsilon(epsilon=exact, zero_params=zeroed), share=biases)
    )


def lrp_epsilon(*, epsilon: float = 1e-6, biases: bool = True) -> Explain:
    """LRP-epsilon: LRP-0 with denominators moved away from 0 by epsilon (Bach 2015, eq. 58).

    Args:
        epsilon: stabiliser of the linear layers, in units of their outputs, > 0. It absorbs
            relevance, which is missing in the sum of the map: with 0.1 and more it absorbs nearly
            all relevance on small networks.
        biases: True if biases receive their share of the relevance; False if the inputs receive all
            of it.

    Raises:
        InvalidArgument: ``epsilon`` is not a finite number > 0, or ``biases`` not a boolean.
    """
    value = positive("epsilon", epsilon)
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(layer=lambda rules, _: rules.Epsilon(epsilon=value, zero_params=zeroed), share=biases)
    )


def lrp_gamma(*, gamma: float = 0.25, biases: bool = True) -> Explain:
    """LRP-gamma: positive weights are multiplied by 1 + gamma (Montavon 2019, sec. 10.2).

    zennit's version also supports negative inputs; for inputs >= 0 it is the rule of the paper.

    Args:
        gamma: additional weight of positive summands, >= 0; 0 gives LRP-0.
        biases: True if biases receive their share of the relevance; False if the inputs receive all
            of it.

    Raises:
        InvalidArgument: ``gamma`` is not a finite number >= 0, or ``biases`` not a boolean.
    """
    value = number("gamma", gamma)
    if value < 0:
        raise InvalidArgument.of("gamma", got=repr(gamma), expected="a number >= 0")
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(layer=lambda rules, _: rules.Gamma(gamma=value, stabilizer=exact, zero_params=zeroed))
    )


def z_plus(*, biases: bool = True) -> Explain:
    """z-plus, or alpha 1 and beta 0: only positive summands count (Montavon 2017, sec. 4).

    Args:
        biases: True if positive biases receive their share of the relevance; False if the inputs
            receive all of it.

    Raises:
        InvalidArgument: ``biases`` is not a boolean.
    """
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(layer=lambda rules, _: rules.ZPlus(stabilizer=exact, zero_params=zeroed))
    )


def alpha_beta(*, alpha: float = 2.0, biases: bool = True) -> Explain:
    """LRP-alpha-beta: weights alpha for positive summands, beta for negative (Bach 2015, eq. 60).

    A neuron without positive summands passes no positive part on, so that its relevance is lost or
    changes its sign; likewise a neuron without negative summands.

    Args:
        alpha: weight of the positive summands, >= 1; beta is alpha - 1.
        biases: True if biases receive their share of the relevance; False if the inputs receive all
            of it.

    Raises:
        InvalidArgument: ``alpha`` is not a finite number >= 1, or ``biases`` not a boolean.
    """
    value = number("alpha", alpha)
    if value < 1 or value - (value - 1) != 1:
        raise InvalidArgument.of("alpha", got=repr(alpha), expected="a number >= 1, below 1e15")
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(
            layer=lambda rules, _: rules.AlphaBeta(
                alpha=value, beta=value - 1, stabilizer=exact, zero_params=zeroed
            )
        )
    )


def w_square(*, biases: bool = True) -> Explain:
    """The w-squared rule in the first layer, z-plus in later layers (Montavon 2017, sec. 4).

    The rule depends on weights only and is therefore used in the first layer only. As in the paper,
    the bias of the first layer receives no share, unlike in zennit's own version.

    Args:
        biases: True if positive biases of the later layers receive their share of the relevance;
            False if they receive none.

    Raises:
        InvalidArgument: ``biases`` is not a boolean.
    """
    return _first(
        lambda rules, _: rules.WSquare(stabilizer=exact, zero_params=["bias"]), _zeroed(biases)
    )


def flat(*, biases: bool = True) -> Explain:
    """The flat rule (equal shares) in the first layer, z-plus in later layers (Lapuschkin 2019).

    Args:
        biases: True if positive biases of the later layers receive their share of the relevance;
            False if they receive none.

    Raises:
        InvalidArgument: ``biases`` is not a boolean.
    """
    return _first(lambda rules, _: rules.Flat(stabilizer=exact), _zeroed(biases))


def z_box_first(
    *, low: float | None = None, high: float | None = None, biases: bool = True
) -> Explain:
    """The z-box rule for bounded pixels in the first layer, then z-plus (Montavon 2017, sec. 4).

    Args:
        low: smallest value that the first layer may read, the same for all channels: the lower
            bound of the subject, unless the model normalises its inputs. None takes the smallest
            value of each image, so that a map does not depend on other images.
        high: likewise the largest value.
        biases: True if positive biases of the later layers receive their share of the relevance;
            False if they receive none.

    Raises:
        InvalidArgument: a bound is not a finite number, low is not below high, or ``biases`` is not
            a boolean. When called: the first layer reads a value outside the bounds.
    """
    box = bounds(low, high)
    return _first(lambda rules, layer: z_box(rules, layer, box), _zeroed(biases))


def positive(name: str, value: object) -> float:
    """Return the value as a float if it is a finite number above 0.

    Raises:
        InvalidArgument: it is anything else.
    """
    checked = number(name, value)
    if checked <= 0:
        raise InvalidArgument.of(name, got=repr(value), expected="a number > 0")
    return checked


def _zeroed(biases: object) -> list[str] | None:
    return None if flag("biases", biases) else ["bias"]


def _first(rule: Callable[[Any, Layer], Any], zeroed: list[str] | None) -> Explain:
    def choose(rules: Any, layer: Layer) -> Any:
        if layer.first:
            return rule(rules, layer)
        return rules.ZPlus(stabilizer=exact, zero_params=zeroed)

    return _explainer(Rules(layer=choose))


def _explainer(rules: Rules) -> Explain:
    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return propagated(model, inputs, targets, rules)

    return explain


_DUMMY = claims("bach2015", "dummy_feature")
# No rule depends on the position of a neuron.
_PLACES = (
    *claims("sundararajan2017", "symmetry"),
    *claims("montavon2018", "translation_equivariance"),
)
# z-plus, z-box and gamma conserve relevance under the same condition, but lose the relevance of
# first-layer neurons that only their bias activates, on an empty background. The w-squared and flat
# rules do not depend on the inputs.
_REACHED = "no neuron after the first layer is active because of its bias alone"


def _conserves(source: str) -> Claim:
    return Claim(
        check="relevance_conservation",
        source=source,
        condition=_REACHED,
        when={"biases": False},
    )


def _variant(method: str, **options: object) -> Variant:
    return Variant(method=method, when={"biases": True, **options})


_VARIANTS: dict[Callable[..., Explain], tuple[Variant, ...]] = {
    lrp_zero: (_variant("lrp_zero"),),
    # The truth "lrp_epsilon" is for 1e-6.
    lrp_epsilon: (_variant("lrp_epsilon", epsilon=1e-6), _variant("lrp_epsilon_other")),
    lrp_gamma: (_variant("lrp_gamma", gamma=0.25),),
    z_plus: (_variant("lrp_z_plus"),),
    alpha_beta: (
        _variant("lrp_alpha2_beta1", alpha=2.0),
        _variant("lrp_z_plus", alpha=1.0),
    ),
    w_square: (_variant("lrp_w_square"),),
    flat: (_variant("lrp_flat"),),
    z_box_first: (_variant("lrp_z_box", low=None, high=None),),
}


def _entry(factory: Callable[..., Explain], source: str, *own_claims: Claim) -> Entry:
    return Entry(
        factory=factory,
        method="lrp",
        variants=_VARIANTS[factory],
        source=source,
        cost="1 forward + 1 backward",
        claims=(*own_claims, *_PLACES),
        sign="evidence",
    )


_RELU = "the model is a ReLU network"
_SCALES = claims("ancona2018", "positive_homogeneity")
_EVIDENCE = claims("bach2015", "sign_convention")

ENTRIES = {
    "zennit:LRPZero": _entry(
        lrp_zero,
        "bach2015",
        Claim(
            check="relevance_conservation",
            source="bach2015",
            condition=f"{_RELU} (the sum is f(x) minus what the biases absorb)",
            when={"biases": True},
        ),
        Claim(check="linearity", source="ancona2018", condition=_RELU, when={"biases": True}),
        *_DUMMY,
        *_SCALES,
        *_EVIDENCE,
    ),
    "zennit:LRPEpsilon": _entry(
        lrp_epsilon,
        "bach2015",
        Claim(
            check="relevance_conservation",
            source="bach2015",
            condition=f"{_RELU} (the sum is f(x) minus what biases and stabiliser absorb)",
            when={"biases": True},
        ),
        *_DUMMY,
        *_EVIDENCE,
    ),
    "zennit:LRPGamma": _entry(
        lrp_gamma, "montavon2019", *claims("montavon2019", "dummy_feature"), *_SCALES
    ),
    "zennit:ZPlus": _entry(z_plus, "montavon2017", *_DUMMY, *_SCALES),
    "zennit:AlphaBeta": _entry(alpha_beta, "bach2015", *_DUMMY, *_SCALES),
    "zennit:WSquare": _entry(
        w_square,
        "montavon2017",
        _conserves("montavon2017"),
        *claims("montavon2017", "dummy_feature"),
        *_SCALES,
    ),
    "zennit:Flat": _entry(flat, "lapuschkin2019", _conserves("lapuschkin2019"), *_SCALES),
    "zennit:ZBox": _entry(z_box_first, "montavon2017", *claims("montavon2017", "dummy_feature")),
}
