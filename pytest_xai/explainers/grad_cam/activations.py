"""Explainers of grad-cam that use only a layer's activations and not the target.

`layer_maps` describes the option ``layer``, the maps and the errors, which both of them share.
"""

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

    grad-cam subtracts each channel's mean first, unlike the paper, and sets negative values of the
    projection to zero although its sign is arbitrary: a map may show the background. The memory
    grows with the square of the number of positions in the layer.
    """
    return layer_maps(
        lambda library, network, chosen, _: library.EigenCAM(
            network, [chosen], reshape_transform=as_recorded
        ),
        layer,
    )


def fem(*, layer: str | None = None, k: float = 2.0) -> Callable[..., Tensor]:
    """A layer's activations weighted by each channel's share of high activations (after Fuad 2020).

    An activation is high if it is above the channel's mean plus k standard deviations. The paper's
    method differs: it sets channels to 1 at high activations, weights them by their means and adds
    them up, with k = 1. grad-cam 1.5.7 multiplies the activations by the share of high ones, and
    its maps differ from the paper's by 0.5 or more for either k. In a layer of at most k^2 + 1
    positions no activation can be high, and the map is zero.

    Args:
        layer: as for `layer_maps`.
        k: number of standard deviations above the mean.

    Raises:
        InvalidArgument: ``k`` is not a finite number, or ``layer`` is wrong.
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
