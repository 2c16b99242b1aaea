"""Explainers of captum that add noise to the input: SmoothGrad, SmoothGrad squared, VarGrad."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import choice, flag, whole
from pytest_xai.explainers.adapting.draws import one_by_one
from pytest_xai.explainers.adapting.entry import Claim, Entry, claims
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.captum.deep_lift import rescaled
from pytest_xai.explainers.captum.gradient_shap import noise_of, share
from pytest_xai.explainers.captum.rules import relus_replaced

__all__ = ["ENTRIES", "smooth_grad", "smooth_grad_squared", "var_grad"]

# Explainers that depend on the model's function only; the others depend on its modules.
_FUNCTIONAL = ("Saliency", "InputXGradient", "IntegratedGradients")
_WITH_BASELINE = ("IntegratedGradients", "DeepLift")
_OVER = (*_FUNCTIONAL, "DeepLift", "GuidedBackprop", "Deconvolution")


def smooth_grad(
    *, draws: int = 25, sigma: float = 0.15, absolute: bool = False, over: str = "Saliency"
) -> Callable[..., Tensor]:
    """The mean gradient under Gaussian noise on the input (Smilkov 2017).

    The noise comes from torch's global generator. Every image of a batch gets the same noise, so
    its map does not depend on the other images.

    Args:
        draws: number of noisy copies per image; the paper sees little change beyond 50.
        sigma: standard deviation of the noise as a share of (largest - smallest value) of each
            image; the paper uses 0.1 to 0.2. captum itself expects an absolute value.
        absolute: True averages the gradient's magnitude, as captum does by default; False averages
            the signed gradient, as in the paper.
        over: the explainer of captum whose maps are averaged, with its defaults: Saliency (the
            gradient), InputXGradient, IntegratedGradients, DeepLift, GuidedBackprop, Deconvolution.

    Raises:
        InvalidArgument: ``draws`` is not a positive integer, ``sigma`` is not a finite number >= 0,
            ``absolute`` is not a boolean or is true for another explainer than Saliency, or
            ``over`` is unknown. When called: ``over`` needs a baseline and gets none, or refuses
            the model.
    """
    absolute = flag("absolute", absolute)
    if absolute and over != "Saliency":
        raise InvalidArgument.of("absolute", got="True", expected="False unless over is Saliency")
    return _noise_tunnel("smoothgrad", draws=draws, sigma=sigma, over=over, absolute=absolute)


def smooth_grad_squared(
    *, draws: int = 25, sigma: float = 0.15, over: str = "Saliency"
) -> Callable[..., Tensor]:
    """The mean square of the gradient under noise on the input (Hooker 2019, sec. 3).

    Options and errors are those of `smooth_grad`, except for ``absolute``.
    """
    return _noise_tunnel("smoothgrad_sq", draws=draws, sigma=sigma, over=over)


def var_grad(
    *, draws: int = 25, sigma: float = 0.15, over: str = "Saliency"
) -> Callable[..., Tensor]:
    """The variance of the gradient under noise on the input (Hooker 2019, sec. 3).

    captum subtracts the squared mean from the mean square. A variance that is much smaller than
    these two is therefore dominated by rounding errors; negative values are set to zero here.

    Options and errors are those of `smooth_grad`, except for ``absolute``.
    """
    return _noise_tunnel("vargrad", draws=draws, sigma=sigma, over=over)


def _noise_tunnel(
    kind: str, *, draws: int, sigma: float, over: str, absolute: bool = False
) -> Callable[..., Tensor]:
    draws = whole("draws", draws)
    sigma = share("sigma", sigma)
    over = choice("over", over, _OVER)

    def explain(
        model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor | None = None
    ) -> Tensor:
        captum = require("captum.attr", extra="captum")
        if over in _WITH_BASELINE and baseline is None:
            raise InvalidArgument.of("baseline", got="none", expected=f"one, for {over}")
        references = inputs if baseline is None else baseline.detach().expand_as(inputs)
        # DeepLift doubles the batch of every pass.
        largest = max(1, images_per_pass(inputs) // (2 if over == "DeepLift" else 1))
        tunnel = captum.NoiseTunnel(getattr(captum, over)(model))

        def one(image: slice) -> Tensor:
            values = inputs[image].detach()
            with _watched(model, over):
                maps: Tensor = tunnel.attribute(
                    values,
                    nt_type=kind,
                    target=targets[image],
                    nt_samples=draws,
                    nt_samples_batch_size=min(draws, largest),
                    stdevs=noise_of(values, sigma),
                    **_arguments(over, references[image], largest, absolute=absolute),
                )
            return maps.clamp(min=0) if kind == "vargrad" else maps

        return one_by_one(len(inputs), one)

    return explain


def _watched(model: nn.Module, over: str) -> AbstractContextManager[None]:
    if over == "DeepLift":
        return rescaled(model)
    if over in ("GuidedBackprop", "Deconvolution"):
        return relus_replaced(model, over)
    return nullcontext()


def _arguments(over: str, baseline: Tensor, largest: int, *, absolute: bool) -> dict[str, object]:
    if over == "Saliency":
        return {"abs": absolute}
    if over == "DeepLift":
        return {"baselines": baseline}
    if over == "IntegratedGradients":
        return {"baselines": baseline, "internal_batch_size": largest}
    return {}


def _claims(source: str) -> tuple[Claim, ...]:
    return (
        Claim(check="dummy_feature", source=source),
        *(
            Claim(check="implementation_invariance", source=source, when={"over": over})
            for over in _FUNCTIONAL
        ),
    )


# InputXGradient depends on where the zero of the input is, and VarGrad may be rounding errors only.
_SHIFTS = tuple(
    Claim(check="shift_invariance", source="kindermans2019", when={"over": over})
    for over in _OVER
    if over != "InputXGradient"
)


def _entry(
    factory: Callable[..., Callable[..., Tensor]], method: str, source: str, *own_claims: Claim
) -> Entry:
    return Entry(
        factory=factory,
        method=method,
        source=source,
        cost="{draws} times the forward and backward passes of {over}",
        claims=(*_claims(source), *own_claims),
        sign="non_negative",
        stochastic=True,
        needs_baseline=True,
    )


ENTRIES = {
    "captum:SmoothGrad": _entry(
        smooth_grad,
        "smooth_grad",
        "smilkov2017",
        *_SHIFTS,
        *(
            Claim(check="linearity", source="smilkov2017", when={"over": over, "absolute": False})
            for over in (*_FUNCTIONAL, "DeepLift")
        ),
        Claim(check="sign_convention", source="smilkov2017", when={"absolute": True}),
    ),
    "captum:SmoothGradSquared": _entry(
        smooth_grad_squared,
        "smooth_grad_squared",
        "hooker2019",
        *_SHIFTS,
        *claims("hooker2019", "sign_convention"),
    ),
    "captum:VarGrad": _entry(
        var_grad, "var_grad", "hooker2019", *claims("hooker2019", "sign_convention")
    ),
}
