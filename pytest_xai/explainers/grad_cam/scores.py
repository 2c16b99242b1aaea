"""Explainers of grad-cam that weight a layer's channels by outputs of the model, one pass each."""

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
    """A layer's channels weighted by the output for the image under them (Wang 2020, alg. 1).

    Every channel, stretched to [0, 1] and brought to the image's size, is multiplied with the
    image; the softmax of the target's outputs over all channels weights them. Maps (N, 1, H, W)
    in [0, 1], stretched per image, right to about 1e-7.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice.
    """

    def build(library: Any, network: nn.Module, chosen: nn.Module, inputs: Tensor) -> Any:
        cam = library.ScoreCAM(network, [chosen], reshape_transform=as_recorded)
        cam.batch_size = images_per_pass(inputs)
        return cam

    return layer_maps(build, layer, at_once=_one)


def ablation_cam(*, layer: str | None = None) -> Callable[..., Tensor]:
    """A layer's channels weighted by what the output loses without them (Desai 2020).

    The weight is (y - y_k) / y, with y_k the target's output when channel k is zero; as in the
    paper a negative y turns all signs. Maps (N, 1, H, W) in [0, 1], stretched per image; outputs
    are rounded to float32, so that a weight is right to about 1e-7. Where y is 0 the weights are
    not defined, and the map is 0. grad-cam's own way is to set a channel to zero only where the
    layer's smallest activation is 0, and to less than -1e7 elsewhere; here it is always zero.

    Args:
        layer: dotted name of the module whose output is used; None: the last convolution that a
            forward pass executes, before what follows it (normalisation, ReLU).

    Raises:
        InvalidArgument: ``layer`` is no name. When called: a layer that does not exist, is not
            executed, or whose output is no map.
        NotApplicable: when called: a model that executes no convolution, a layer that runs twice
            or has two names.
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
            "grad-cam replaces a layer under the first of its names, and the model executes this "
            "one under another; name another layer with the option layer"
        )
    outputs = cam.outputs.gather(1, targets.unsqueeze(1)).flatten().float()
    maps[outputs.cpu() == 0] = 0
    return maps


def _one(_: Tensor) -> int:
    # Both hold a copy of the image or of its activations for every channel.
    return 1


class _Zeroed(nn.Module):
    """Stands in the layer's place, and gives its activations with one channel at zero per row.

    The methods and ``indices`` are those that AblationCAM calls.
    """

    ran = False

    def activations_to_be_ablated(
        self, activations: NDArray[Any], _: float = 1.0
    ) -> NDArray[np.int64]:
        # As the layer gave them: what AblationCAM passes later, an in-place ReLU has written to.
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
