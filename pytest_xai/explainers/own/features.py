"""The output of a layer and the output of the model, from one pass."""

import torch
from torch import Tensor, nn

__all__ = ["feature_maps"]


def feature_maps(model: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run the model once and return the output of a layer with that of the model.

    Args:
        model: in evaluation mode.
        layer: one of its modules; if it runs several times in a pass, the last run counts.
        images: (n, C, *spatial).

    Returns:
        A copy of the layer's output (n, K, *positions), which later modules do not overwrite, and
        the model's output (n, classes).
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        # A copy, since an in-place ReLU after the layer overwrites its output.
        kept[:] = [output.detach().clone()]

    handle = layer.register_forward_hook(keep)
    try:
        with torch.no_grad():
            outputs: Tensor = model(images.detach().clone())
    finally:
        handle.remove()
    return kept[0], outputs
