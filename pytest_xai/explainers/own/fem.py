"""FEM: the positions where a layer's channels exceed their means by K standard deviations."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.explainers.adapting.arguments import flag, number, text
from pytest_xai.explainers.adapting.entry import SPATIAL, Claim, Entry, Variant, claims
from pytest_xai.explainers.adapting.target_layer import target_layer
from pytest_xai.explainers.own.features import feature_maps
from pytest_xai.explainers.own.masking import resized

__all__ = ["ENTRIES", "fem"]


def fem(
    *, layer: str | None = None, deviations: float = 1.0, normalise: bool = True
) -> Callable[..., Tensor]:
    """A layer's channel means, summed where the channel exceeds its threshold (Fuad 2020).

    R = sum_k mu_k 1[a_k >= mu_k + K sigma_k], where the channels a_k of the layer have the means
    mu_k and standard deviations sigma_k over the positions of this input. R is scaled to [0, 1] and
    interpolated linearly to the input's size. It depends neither on the target nor on the layers
    after this one. grad-cam's method of this name differs: it multiplies the activation by the
    share of positions above the threshold, and K = 2.

    Args:
        layer: dotted name of the module whose output is used. None takes the last convolution that
            a forward pass executes, before the normalisation or ReLU that follows it.
        deviations: K.
        normalise: True scales the map by (R - min R) / (max R - min R), and a constant map to 0;
            False returns R.

    Returns:
        An explainer whose maps are (N, 1, *spatial).

    Raises:
        InvalidArgument: ``layer`` is not a name, ``deviations`` is not a finite number, or
            ``normalise`` is not a boolean. When called: the layer does not exist or is not
            executed, or its output has no spatial dimensions.
        NotApplicable: when called: the model executes no convolution.
    """
    layer = None if layer is None else text("layer", layer)
    deviations = number("deviations", deviations)
    normalise = flag("normalise", normalise)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        chosen = target_layer(model, inputs, layer)
        # One image at a time: rounding depends on the batch and could flip a comparison.
        activations = torch.cat(
            [feature_maps(model, chosen, image)[0] for image in inputs.detach().split(1)]
        )
        summed = _summed(activations.flatten(2), deviations)
        if normalise:
            summed = _normalised(summed)
        maps = summed.view(len(inputs), 1, *activations.shape[2:])
        return resized(maps, inputs.shape[2:]).to(inputs)

    return explain


def _summed(activations: Tensor, deviations: float) -> Tensor:
    """Return the map (n, positions) of channels (n, K, positions)."""
    means = activations.mean(2, keepdim=True)
    spreads = activations.std(2, correction=0, keepdim=True)
    # Equality counts, and is common in channels that are constant or have two values. The
    # comparison therefore tolerates the rounding of mean and deviation.
    rounding = 8 * torch.finfo(activations.dtype).eps * activations.abs().amax(2, keepdim=True)
    beyond = activations >= means + deviations * spreads - rounding
    return (means * beyond).sum(1)


def _normalised(maps: Tensor) -> Tensor:
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low), 0)


ENTRIES = {
    "xai:FEM": Entry(
        factory=fem,
        method="fem",
        variants=(Variant(method="fem_scaled", when={"normalise": True}),),
        source="fuad2020",
        cost="1 forward per call, then 1 forward",
        claims=(
            *claims("kindermans2019", "shift_invariance"),
            Claim(check="sign_convention", source="fuad2020", when={"normalise": True}),
        ),
        sign="non_negative",
        inputs=SPATIAL,
        class_agnostic=True,
    ),
}
