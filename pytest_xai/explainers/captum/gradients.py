"""Gradient explainers of captum: saliency, input x gradient, and gradients along paths."""

from collections.abc import Callable

from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import choice, flag, whole
from pytest_xai.explainers.adapting.entry import Claim, Entry, Variant, claims
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass

__all__ = ["ENTRIES", "input_x_gradient", "integrated_gradients", "saliency"]

_QUADRATURES = (
    "gausslegendre",
    "riemann_left",
    "riemann_middle",
    "riemann_right",
    "riemann_trapezoid",
)


def saliency(*, absolute: bool = True, channels: str = "each") -> Callable[..., Tensor]:
    """The gradient of the target's output, by default its absolute value (Simonyan 2014, sec. 3).

    Args:
        absolute: True for the magnitude, as in the paper; False for the signed gradient, which is
            linear in the model.
        channels: "each" for a map of the inputs' shape; "max" for the largest magnitude over the
            channels, (N, 1, *spatial), as in the paper. It has no effect on inputs (N, features).

    Raises:
        InvalidArgument: ``absolute`` is not a boolean, ``channels`` is unknown, or "max" is
            combined with signed gradients.
    """
    absolute = flag("absolute", absolute)
    channels = choice("channels", channels, ("each", "max"))
    if channels == "max" and not absolute:
        raise InvalidArgument.of("channels", got="'max'", expected="'each' for signed gradients")

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        maps: Tensor = captum.Saliency(model).attribute(fresh(inputs), target=targets, abs=absolute)
        maps = maps.detach()
        return maps.amax(1, keepdim=True) if channels == "max" and maps.ndim > 2 else maps

    return explain


def input_x_gradient() -> Callable[..., Tensor]:
    """The input times the gradient of the target's output (Shrikumar 2016)."""

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        maps: Tensor = captum.InputXGradient(model).attribute(fresh(inputs), target=targets)
        return maps.detach()

    return explain


def integrated_gradients(
    *, steps: int = 50, method: str = "gausslegendre"
) -> Callable[..., Tensor]:
    """(Input - baseline) times the mean gradient on the path between (Sundararajan 2017, eq. 1).

    captum rounds the weights of the nodes to float32, so float64 maps have relative errors of about
    1e-7. With captum's ``riemann_trapezoid`` maps are too small by the factor 1 - 1 / steps.

    Args:
        steps: number of nodes of the quadrature, at least 2.
        method: the quadrature, one of captum's names.

    Raises:
        InvalidArgument: ``steps`` is not an integer of at least 2, or ``method`` is unknown.
    """
    steps = whole("steps", steps, least=2)
    method = choice("method", method, _QUADRATURES)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        maps: Tensor = captum.IntegratedGradients(model).attribute(
            fresh(inputs),
            baselines=baseline.detach(),
            target=targets,
            n_steps=steps,
            method=method,
            # captum warns unless a pass holds at least one node of every input.
            internal_batch_size=max(len(inputs), images_per_pass(inputs)),
        )
        return maps.detach()

    return explain


ENTRIES = {
    "captum:Saliency": Entry(
        factory=saliency,
        method="gradient",
        variants=(
            Variant(method="largest_gradient", when={"channels": "max"}),
            Variant(method="absolute_gradient", when={"absolute": True}),
        ),
        source="simonyan2014",
        cost="1 forward + 1 backward",
        claims=(
            *claims("sundararajan2017", "implementation_invariance", "symmetry"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
            *claims("montavon2018", "translation_equivariance"),
            Claim(check="sign_convention", source="simonyan2014", when={"absolute": True}),
            # The maximum over channels also gives a value to a channel that the model ignores.
            Claim(check="dummy_feature", source="sundararajan2017", when={"channels": "each"}),
            Claim(check="linearity", source="sundararajan2017", when={"absolute": False}),
        ),
        sign="non_negative",
    ),
    "captum:InputXGradient": Entry(
        factory=input_x_gradient,
        method="input_x_gradient",
        source="shrikumar2016",
        cost="1 forward + 1 backward",
        claims=(
            *claims("ancona2018", "dummy_feature", "implementation_invariance", "linearity"),
            *claims("ancona2018", "symmetry", "positive_homogeneity", "sign_convention"),
            *claims("montavon2018", "translation_equivariance"),
        ),
        sign="evidence",
    ),
    "captum:IntegratedGradients": Entry(
        factory=integrated_gradients,
        method="integrated_gradients",
        source="sundararajan2017",
        cost="{steps} forward + {steps} backward",
        claims=(
            *claims(
                "sundararajan2017",
                "summation_to_delta",
                "converges",
                "dummy_feature",
                "implementation_invariance",
                "linearity",
            ),
            *claims("sundararajan2017", "sensitivity_a", "symmetry", "sign_convention"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
            *claims("montavon2018", "translation_equivariance"),
        ),
        sign="evidence",
        needs_baseline=True,
    ),
}
