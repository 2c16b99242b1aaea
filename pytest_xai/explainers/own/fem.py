"""FEM: where the last convolution's channels exceed their own means by K deviations."""

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
    """Means of a layer's channels, summed where each stands out of itself (Fuad 2020).

    R = sum_k mu_k 1[a_k >= mu_k + K sigma_k]: the channels a_k of the layer, their means mu_k and
    standard deviations sigma_k over the places of this input; then scaled to [0, 1] and
    interpolated linearly to the input's size. Neither the target nor what follows the layer
    matters. grad-cam's method of this name differs: its weight is the share of places beyond the
    threshold, multiplied by the activation, and K = 2.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).
        deviations: K.
        normalise: scale the map by (R - min R) / (max R - min R), a constant one to 0; False: R.

    Returns:
        An explainer whose maps are (N, 1, *spatial).

    Raises:
        InvalidArgument: ``layer`` is no name, ``deviations`` no finite number, or ``normalise`` no
            boolean. When called: a layer that does not exist, is not executed, or whose output
            has no spatial dimensions.
        NotApplicable: when called: a model that executes no convolution.
    """
    layer = None if layer is None else text("layer", layer)
    deviations = number("deviations", deviations)
    normalise = flag("normalise", normalise)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        chosen = target_layer(model, inputs, layer)
        # One by one: convolutions round differently in other batches, and a threshold tells.
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
    """The map (n, places) of channels (n, K, places)."""
    means = activations.mean(2, keepdim=True)
    spreads = activations.std(2, correction=0, keepdim=True)
    # Equality counts, and is common: in channels that are constant or have two values. It is
    # decided up to the rounding of mean and deviation.
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
