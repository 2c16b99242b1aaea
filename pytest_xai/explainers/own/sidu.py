"""SIDU: masks from the last convolution, weighted by how the class probabilities react."""

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
    """Binarised maps of a layer, weighted by how the outputs react to them (Muddamsetty 2022).

    R = sum_i SD_i U_i M_i over the K channels. M_i shows the places where channel i exceeds the
    threshold, interpolated linearly to the input's size; P_i are the class probabilities of
    x * M_i + x' * (1 - M_i), P those of x. SD_i = exp(-|P - P_i|^2 / (2 sigma^2)) is large if the
    mask keeps the prediction, U_i = sum_j |P_i - P_j| if no other mask does the same. Whole
    vectors of probabilities (of a single output: the sigmoid) are compared, so that the target does
    not matter. What is hidden shows the subject's baseline x'; in the paper it is 0. Masks that
    are all equal, such as all empty, give a map of zeros.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).
        threshold: what an activation has to exceed to be shown; 0.5 in the authors' program.
        relative: the threshold is a share of the channel's largest activation, so that it does not
            depend on their scale; False: it is compared with the activations, as by the authors.
        sigma: width of the kernel, above 0; 0.25 in the paper.

    Returns:
        An explainer whose maps are (N, 1, *spatial), zero or positive.

    Raises:
        InvalidArgument: ``layer`` is no name, ``threshold`` no finite number or, if relative, no
            share from 0 to below 1, ``relative`` no boolean, or ``sigma`` not above 0. When
            called: a layer that does not exist, is not executed, or whose output has no spatial
            dimensions.
        NotApplicable: when called: a model that executes no convolution.
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
        # One by one, as each has masks of its own; so none depends on another's rounding.
        for image, reference in zip(inputs.detach().split(1), references.split(1), strict=True):
            activations, outputs = feature_maps(model, chosen, image)
            masks = _binary(activations, threshold, relative=relative).transpose(0, 1)
            seen = _seen(model, image, reference, masks)
            weights = _weights(probabilities(outputs), seen, sigma)
            # Interpolation is linear: that of the sum is the sum of the interpolated masks.
            summed = torch.einsum("k,kl...->l...", weights, masks).unsqueeze(0)
            maps.append(resized(summed, inputs.shape[2:]))
        return torch.cat(maps)

    return explain


def _binary(activations: Tensor, threshold: float, *, relative: bool) -> Tensor:
    if not relative:
        return (activations > threshold).to(activations)
    largest = activations.amax(tuple(range(2, activations.ndim)), keepdim=True)
    # A channel without positive values has none above a share of its largest.
    return (activations > threshold * largest).to(activations)


def _seen(model: nn.Module, image: Tensor, reference: Tensor, masks: Tensor) -> Tensor:
    """Class probabilities (K, classes) of the image under each of the masks (K, 1, *places)."""
    seen = []
    with torch.no_grad():
        for some in masks.split(images_per_pass(image)):
            shown = resized(some, image.shape[2:]).to(image)
            seen.append(probabilities(model(covered(image, reference, shown))))
    return torch.cat(seen)


def _weights(whole: Tensor, seen: Tensor, sigma: float) -> Tensor:
    """SD_i U_i, (K,)."""
    similarity = torch.exp(-(seen - whole).square().sum(1) / (2 * sigma**2))
    # Not by way of |a|^2 - 2ab + |b|^2, which leaves rounding where two are equal.
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
