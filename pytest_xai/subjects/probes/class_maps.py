"""Closed forms of class activation maps before global average pooling and a linear layer."""

import torch
from torch import Tensor

__all__ = ["activation_maps"]


def _unit(maps: Tensor) -> Tensor:
    """Rectify each map and scale it to [0, 1]; a constant map becomes 0."""
    rectified = maps.relu()
    low = rectified.flatten(1).amin(1).reshape(-1, 1, 1, 1)
    high = rectified.flatten(1).amax(1).reshape(-1, 1, 1, 1)
    return torch.where(high > low, (rectified - low) / torch.where(high > low, high - low, 1), 0)


def activation_maps(activations: Tensor, own: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """Return class activation maps before global average pooling and one linear layer.

    The gradient at each position is w_k / positions, and CAM = sum_k w_k A_k (Zhou 2016, equation
    2). Maps of methods named "scaled" are rectified and scaled to [0, 1].

    Args:
        activations: A_k, (N, K, H, W).
        own: weights w_k of the target, (N, K).
        bias: bias of the target, (N,).
    """
    places = activations[0, 0].numel()

    def weighted(weights: Tensor) -> Tensor:
        return (weights[:, :, None, None] * activations).sum(1, keepdim=True)

    cam, means = weighted(own), activations.mean((2, 3))
    score = (own * means).sum(1) + bias
    found = {
        "cam": cam,
        "cam_rectified": cam.relu(),
        **dict.fromkeys(("grad_cam", "hires_cam", "xgrad_cam"), (cam / places).relu()),
        "ablation_cam": weighted(own * means / score[:, None]).relu(),
    }
    if bool((activations >= 0).all()):
        # These methods are defined for activations after a ReLU.
        found["layer_cam"] = weighted(own.relu() / places)
        found["grad_cam_plus_plus"] = weighted(own.relu() / (2 + own * means))
        found["fem"] = _exceeding(activations)
    stretched = {
        f"{method}_scaled": _unit(truth)
        for method, truth in found.items()
        if method not in ("cam", "cam_rectified")
    }
    return {**found, **stretched}


def _exceeding(activations: Tensor) -> Tensor:
    """Return sum_k mu_k 1[A_k >= mu_k + sigma_k] (Fuad 2020), (N, 1, H, W)."""
    means = activations.mean((2, 3), keepdim=True)
    spreads = activations.std((2, 3), correction=0, keepdim=True)
    return (means * (activations >= means + spreads)).sum(1, keepdim=True)
