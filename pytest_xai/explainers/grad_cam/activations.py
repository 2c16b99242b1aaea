"""Explainers of grad-cam that look at a layer's activations alone, whatever the target."""

from collections.abc import Callable

from torch import Tensor

from pytest_xai.explainers.adapting.arguments import number
from pytest_xai.explainers.adapting.entry import Entry, claims
from pytest_xai.explainers.grad_cam.running import as_recorded, layer_maps

__all__ = ["ENTRIES", "eigen_cam", "fem"]

_COST = "1 forward per call, then 1 forward"
_INPUTS = frozenset({"image", "volume"})


def eigen_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's activations, projected on their first principal component (Muhammad 2020).

    Maps (N, 1, *spatial) in [0, 1], stretched per image; the target is not looked at. grad-cam
    subtracts each channel's mean first, which the paper does not, and drops the negative half of
    a projection whose sign is arbitrary: a map may be the background's. It needs memory for the
    square of the layer's places.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice.
    """
    return layer_maps(
        lambda library, network, chosen, _: library.EigenCAM(
            network, [chosen], reshape_transform=as_recorded
        ),
        layer,
    )


def fem(*, layer: str | None = None, k: float = 2.0) -> Callable[..., Tensor]:
    """A layer's activations weighted by the share of outstanding places (after Fuad 2020).

    Outstanding are places above the channel's mean plus k standard deviations. Maps
    (N, 1, *spatial) in [0, 1], stretched per image; the target is not looked at. The paper is
    another method: it adds up channels that are 1 at outstanding places, weighted by their means,
    with k = 1. grad-cam 1.5.7 multiplies activations by the share of such places, and its maps
    differ from the paper's by 0.5 and more, at either k. In a layer of at most k^2 + 1 places none
    can be outstanding, and the map is zero.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).
        k: standard deviations above the mean.

    Raises:
        InvalidArgument: ``layer`` is no name, ``k`` no finite number. When called: a layer that
            does not exist, is not executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice.
    """
    k = number("k", k)
    return layer_maps(
        lambda library, network, chosen, _: library.FEM(
            network, [chosen], reshape_transform=as_recorded, k=k
        ),
        layer,
    )


_CLAIMS = (
    *claims("kindermans2019", "shift_invariance"),
    *claims("selvaraju2017", "sign_convention"),
)

ENTRIES = {
    "gradcam:EigenCAM": Entry(
        factory=eigen_cam,
        method="eigen_cam",
        source="muhammad2020",
        cost=_COST,
        claims=_CLAIMS,
        sign="non_negative",
        inputs=_INPUTS,
        class_agnostic=True,
    ),
    "gradcam:FEM": Entry(
        factory=fem,
        method="fem_scaled",
        source="fuad2020",
        cost=_COST,
        claims=_CLAIMS,
        sign="non_negative",
        inputs=_INPUTS,
        class_agnostic=True,
    ),
}
