"""The maps that a layer gives for an image, and what the model makes of it, in one pass."""

import torch
from torch import Tensor, nn

__all__ = ["feature_maps"]


def feature_maps(model: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run the model once and keep what the layer returns.

    Args:
        model: in evaluation mode.
        layer: one of its modules; of several runs in one pass, the last counts.
        images: (n, C, *spatial).

    Returns:
        The layer's output (n, K, *places), as it was before later modules wrote on it, and the
        model's (n, classes).
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        # A copy: an in-place ReLU behind the layer writes on its output.
        kept[:] = [output.detach().clone()]

    handle = layer.register_forward_hook(keep)
    try:
        with torch.no_grad():
            outputs: Tensor = model(images.detach().clone())
    finally:
        handle.remove()
    return kept[0], outputs
