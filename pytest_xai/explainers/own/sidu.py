"""SIDU: masks from a layer's channels, weighted by their effect on the class probabilities."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import flag, number, text
from pytest_xai.explainers.adapting.entry import SPATIAL, Entry, claims
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.adapting.target_layer import target_layer
from pytest_xai.explainers.own.features import feature_maps
from pytest_xai.explainers.own.masking import covered, probabilities, resized

__all__ = ["ENTRIES", "sidu"]


def sidu(
    *,
    layer: str | None = None,
    threshold: float = 0.5,
    relative: bool = False,
    sigma: float = 0.25,
) -> Callable[..., Tensor]:
    """A layer's binarised channels, weighted by their effect on the outputs (Muddamsetty 2022).

    R = sum_i SD_i U_i M_i over the K channels. The mask M_i shows the positions where channel i
    exceeds the threshold, interpolated linearly to the input's size. P_i are the class
    probabilities of x * M_i + x' * (1 - M_i), and P those of x.
    SD_i = exp(-|P - P_i|^2 / (2 sigma^2)) is large if the mask keeps the prediction.
    U_i = sum_j |P_i - P_j| is large if the other masks have other effects. Whole vectors of
    probabilities (the sigmoid of a single output) are compared, so the map does not depend on the
    target. Hidden positions are set to the subject's baseline x'; in the paper it is 0. If all
    masks are equal, for example empty, the map is zero.

    Args:
        layer: dotted name of the module whose output is used. None takes the last convolution that
            a forward pass executes, before the normalisation or ReLU that follows it.
        threshold: activations above this value are shown; 0.5 in the authors' code.
        relative: True if the threshold is a share of the channel's largest activation, so that it
            does not depend on the scale of activations; False if it is compared with the
            activations, as in the authors' code.
        sigma: width of the kernel, above 0; 0.25 in the paper.

    Returns:
        An explainer whose maps are (N, 1, *spatial), zero or positive.

    Raises:
        InvalidArgument: ``layer`` is not a name, ``threshold`` is not a finite number or, if
            relative, not a share from 0 to below 1, ``relative`` is not a boolean, or ``sigma`` is
            not above 0. When called: the layer does not exist or is not executed, or its output
            has no spatial dimensions.
        NotApplicable: when called: the model executes no convolution.
    """
    layer = None if layer is None else text("layer", layer)
    threshold = number("threshold", threshold)
    relative = flag("relative", relative)
    if relative and not 0 <= threshold < 1:
        raise InvalidArgument.of(
            "threshold", got=repr(threshold), expected="a share from 0 to below 1 if relative"
        )
    sigma = number("sigma", sigma)
    if sigma <= 0:
        raise InvalidArgument.of("sigma", got=repr(sigma), expected="a number above 0")

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        chosen = target_layer(model, inputs, layer)
        references = baseline.detach().to(inputs).expand_as(inputs)
        maps = []
        # One image at a time, since each has its own masks; rounding does not depend on the batch.
        for image, reference in zip(inputs.detach().split(1), references.split(1), strict=True):
            activations, outputs = feature_maps(model, chosen, image)
            masks = _binary(activations, threshold, relative=relative).transpose(0, 1)
            seen = _seen(model, image, reference, masks)
            weights = _weights(probabilities(outputs), seen, sigma)
            # Interpolation is linear, so the interpolated sum is the sum of the interpolated masks.
            summed = torch.einsum("k,kl...->l...", weights, masks).unsqueeze(0)
            maps.append(resized(summed, inputs.shape[2:]))
        return torch.cat(maps)

    return explain


def _binary(activations: Tensor, threshold: float, *, relative: bool) -> Tensor:
    if not relative:
        return (activations > threshold).to(activations)
    largest = activations.amax(tuple(range(2, activations.ndim)), keepdim=True)
    # In a channel without positive values no value exceeds a share of the largest.
    return (activations > threshold * largest).to(activations)


def _seen(model: nn.Module, image: Tensor, reference: Tensor, masks: Tensor) -> Tensor:
    """Return class probabilities (K, classes) of the image under each mask (K, 1, *positions)."""
    seen = []
    with torch.no_grad():
        for some in masks.split(images_per_pass(image)):
            shown = resized(some, image.shape[2:]).to(image)
            seen.append(probabilities(model(covered(image, reference, shown))))
    return torch.cat(seen)


def _weights(whole: Tensor, seen: Tensor, sigma: float) -> Tensor:
    """Return the weights SD_i U_i, (K,)."""
    similarity = torch.exp(-(seen - whole).square().sum(1) / (2 * sigma**2))
    # The formula |a|^2 - 2ab + |b|^2 would leave rounding errors where two are equal.
    exact = "donot_use_mm_for_euclid_dist"
    uniqueness = torch.cdist(seen, seen, compute_mode=exact).sum(1)
    return similarity * uniqueness


ENTRIES = {
    "xai:SIDU": Entry(
        factory=sidu,
        method="sidu",
        source="muddamsetty2022",
        cost="1 forward per call, then 1 forward + 1 for each channel of the layer",
        claims=claims("kindermans2019", "shift_invariance"),
        inputs=SPATIAL,
        class_agnostic=True,
        needs_baseline=True,
    ),
}
