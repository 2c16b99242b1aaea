"""Explainers of grad-cam that weight a layer's channels by the model's outputs for each channel.

`layer_maps` describes the option ``layer``, the maps and the errors, which both of them share.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.entry import IMAGES, Entry
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.grad_cam.running import as_recorded, layer_maps

__all__ = ["ENTRIES", "ablation_cam", "score_cam"]


def score_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's channels weighted by outputs for the image masked with each (Wang 2020, alg. 1).

    Every channel is scaled to [0, 1], resized to the image and multiplied with it. The weights are
    the softmax, over all channels, of the target's outputs for these products.
    """

    def build(library: Any, network: nn.Module, chosen: nn.Module, inputs: Tensor) -> Any:
        cam = library.ScoreCAM(network, [chosen], reshape_transform=as_recorded)
        cam.batch_size = images_per_pass(inputs)
        return cam

    return layer_maps(build, layer, at_once=_one)


def ablation_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's channels weighted by how much the output drops without each (Desai 2020).

    The weight is (y - y_k) / y, where y_k is the target's output when channel k is set to zero. As
    in the paper, a negative y changes all signs. Outputs are rounded to float32, so a weight is
    accurate to about 1e-7. Where y is 0 the weights are undefined, and the map is 0. Here a channel
    is always set to zero; grad-cam itself does so only if the layer's smallest activation is 0,
    and otherwise sets the channel to less than -1e7.

    Raises:
        NotApplicable: when called: in addition, a layer that has two names in the model.
    """

    def build(library: Any, network: nn.Module, chosen: nn.Module, inputs: Tensor) -> Any:
        return library.AblationCAM(
            network,
            [chosen],
            reshape_transform=as_recorded,
            ablation_layer=_Zeroed(),
            batch_size=images_per_pass(inputs),
        )

    explain = layer_maps(build, layer, at_once=_one, finish=_ablated)

    @functools.wraps(explain)
    def without_warnings(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        with np.errstate(divide="ignore", invalid="ignore"):
            return explain(model, inputs, targets)

    return without_warnings


def _ablated(cam: Any, targets: Tensor, maps: Tensor) -> Tensor:
    if not cam.ablation_layer.ran:
        raise NotApplicable(
            "grad-cam replaces a layer under the first of its names, and the model uses this layer "
            "under another name; name another layer with the option layer"
        )
    outputs = cam.outputs.gather(1, targets.unsqueeze(1)).flatten().float()
    maps[outputs.cpu() == 0] = 0
    return maps


def _one(_: Tensor) -> int:
    # Both methods hold a copy of the image or of its activations for every channel.
    return 1


class _Zeroed(nn.Module):
    """Replaces the layer and returns its activations with one channel set to zero per row.

    AblationCAM calls its methods and reads ``indices``.
    """

    ran = False

    def activations_to_be_ablated(
        self, activations: NDArray[Any], _: float = 1.0
    ) -> NDArray[np.int64]:
        # The layer's own output. An in-place ReLU has overwritten what AblationCAM passes later.
        self.activations = torch.from_numpy(activations)
        self.indices = np.arange(len(activations))
        return self.indices

    def set_next_batch(
        self, input_batch_index: int, activations: Tensor, num_channels_to_ablate: int
    ) -> None:
        rows = self.activations.to(activations.device).repeat(num_channels_to_ablate, 1, 1, 1)
        rows[range(num_channels_to_ablate), self.indices[:num_channels_to_ablate]] = 0
        self.rows = rows

    def forward(self, _: Tensor) -> Tensor:
        self.ran = True
        return self.rows


ENTRIES = {
    "gradcam:ScoreCAM": Entry(
        factory=score_cam,
        method="score_cam",
        source="wang2020",
        cost="1 forward per call, then 1 forward + 1 for each channel of the layer",
        inputs=IMAGES,
    ),
    "gradcam:AblationCAM": Entry(
        factory=ablation_cam,
        method="ablation_cam_scaled",
        source="desai2020",
        cost="1 forward per call, then 2 forward + 1 for each channel of the layer",
        inputs=IMAGES,
    ),
}
