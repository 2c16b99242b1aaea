"""One rule of relevance propagation on all layers, or in the first one with z-plus above."""

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
    """LRP-0: relevance in proportion to the summands a_j w_jk (Bach 2015, eq. 56).

    On ReLU networks it is the input times the gradient, also with biases (Ancona 2018).
    It has no stabiliser: a neuron whose value is exactly 0 passes nothing on.

    Args:
        biases: they take their share of the relevance; False: the inputs get all of it, and where
            a bias alone makes a neuron active, the denominator is near 0 and maps are unstable.

    Raises:
        InvalidArgument: ``biases`` is no boolean.
    """
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(layer=lambda rules, _: rules.Epsilon(epsilon=exact, zero_params=zeroed), share=biases)
    )


def lrp_epsilon(*, epsilon: float = 1e-6, biases: bool = True) -> Explain:
    """LRP-epsilon: LRP-0 with denominators moved away from 0 by epsilon (Bach 2015, eq. 58).

    Args:
        epsilon: of the linear layers, in units of their outputs, > 0. What it absorbs is lost:
            conservation holds up to that leak, which is nearly everything for 0.1 and above on
            small networks.
        biases: they take their share of the relevance; False: the inputs get all of it.

    Raises:
        InvalidArgument: ``epsilon`` is no finite number > 0, or ``biases`` no boolean.
    """
    value = positive("epsilon", epsilon)
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(layer=lambda rules, _: rules.Epsilon(epsilon=value, zero_params=zeroed), share=biases)
    )


def lrp_gamma(*, gamma: float = 0.25, biases: bool = True) -> Explain:
    """LRP-gamma: positive weights count 1 + gamma times (Montavon 2019, sec. 10.2).

    zennit's form of it takes negative inputs as well; on inputs >= 0 it is the paper's.

    Args:
        gamma: how much positive summands are preferred, >= 0; 0 is LRP-0.
        biases: they take their share of the relevance; False: the inputs get all of it.

    Raises:
        InvalidArgument: ``gamma`` is no finite number >= 0, or ``biases`` no boolean.
    """
    value = number("gamma", gamma)
    if value < 0:
        raise InvalidArgument.of("gamma", got=repr(gamma), expected="a number >= 0")
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(layer=lambda rules, _: rules.Gamma(gamma=value, stabilizer=exact, zero_params=zeroed))
    )


def z_plus(*, biases: bool = True) -> Explain:
    """z-plus, the same as alpha 1 and beta 0: positive summands only (Montavon 2017, sec. 4).

    Args:
        biases: positive ones take their share of the relevance; False: the inputs get all of it.

    Raises:
        InvalidArgument: ``biases`` is no boolean.
    """
    zeroed = _zeroed(biases)
    return _explainer(
        Rules(layer=lambda rules, _: rules.ZPlus(stabilizer=exact, zero_params=zeroed))
    )


def alpha_beta(*, alpha: float = 2.0, biases: bool = True) -> Explain:
    """LRP-alpha-beta: positive summands alpha times, negative ones beta times (Bach 2015, eq. 60).

    A neuron without positive summands passes nothing on for them, so that its relevance is lost or
    changes its sign; likewise without negative ones.

    Args:
        alpha: weight of the positive summands, >= 1; beta is alpha - 1.
        biases: they take their share of the relevance; False: the inputs get all of it.

    Raises:
        InvalidArgument: ``alpha`` is no finite number >= 1, or ``biases`` no boolean.
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
    """The w-squared rule in the first layer, z-plus above (Montavon 2017, sec. 4).

    The rule looks at weights alone, so in the first layer only. zennit would give the first layer's
    squared bias a share; the paper's rule, and this one, does not.

    Args:
        biases: of the layers above: positive ones take their share of the relevance; False: none.

    Raises:
        InvalidArgument: ``biases`` is no boolean.
    """
    return _first(
        lambda rules, _: rules.WSquare(stabilizer=exact, zero_params=["bias"]), _zeroed(biases)
    )


def flat(*, biases: bool = True) -> Explain:
    """Relevance in equal parts in the first layer, z-plus above (Lapuschkin 2019).

    Args:
        biases: of the layers above: positive ones take their share of the relevance; False: none.

    Raises:
        InvalidArgument: ``biases`` is no boolean.
    """
    return _first(lambda rules, _: rules.Flat(stabilizer=exact), _zeroed(biases))


def z_box_first(
    *, low: float | None = None, high: float | None = None, biases: bool = True
) -> Explain:
    """The z-box rule for bounded pixels in the first layer, z-plus above (Montavon 2017, sec. 4).

    Args:
        low: least value that the first layer may read, the same for all channels: the subject's
            bounds, unless the model normalises its inputs. None: each image's own least value, so
            that a map never depends on other images.
        high: likewise the largest.
        biases: of the layers above: positive ones take their share of the relevance; False: none.

    Raises:
        InvalidArgument: a bound is no finite number, low is not below high, or ``biases`` is no
            boolean; when called, the first layer reads a value beyond the bounds.
    """
    box = bounds(low, high)
    return _first(lambda rules, layer: z_box(rules, layer, box), _zeroed(biases))


def positive(name: str, value: object) -> float:
    """A finite number above 0.

    Raises:
        InvalidArgument: anything else.
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
# No rule looks at where a neuron is.
_PLACES = (
    *claims("sundararajan2017", "symmetry"),
    *claims("montavon2018", "translation_equivariance"),
)
# z-plus, z-box and gamma conserve on the same condition, but lose what a first layer's neurons get
# that are active by their bias over an empty background. These two rules do not look at the inputs.
_REACHED = "above the first layer, no neuron is active by its bias alone"


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
    # The truth is that of 1e-6.
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


def _entry(factory: Callable[..., Explain], source: str, *promises: Claim) -> Entry:
    return Entry(
        factory=factory,
        method="lrp",
        variants=_VARIANTS[factory],
        source=source,
        cost="1 forward + 1 backward",
        claims=(*promises, *_PLACES),
        sign="evidence",
    )


_RELU = "a ReLU network"
_SCALES = claims("ancona2018", "positive_homogeneity")
_EVIDENCE = claims("bach2015", "sign_convention")

ENTRIES = {
    "zennit:LRPZero": _entry(
        lrp_zero,
        "bach2015",
        Claim(
            check="relevance_conservation",
            source="bach2015",
            condition=f"{_RELU}; less what the biases absorb",
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
            condition=f"{_RELU}; less what the biases and the stabiliser absorb",
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
