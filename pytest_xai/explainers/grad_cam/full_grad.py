"""FullGrad of grad-cam, which uses the biases of all layers."""

from collections.abc import Callable

from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.entry import IMAGES, Entry, claims
from pytest_xai.explainers.adapting.target_layer import executed_maps
from pytest_xai.explainers.grad_cam.running import maps_of, own_copy

__all__ = ["ENTRIES", "full_grad"]


def full_grad() -> Callable[..., Tensor]:
    """The input and all biases times their gradients (Srinivas 2019).

    The absolute values of each channel are scaled to [0, 1] and added up. The maps (N, 1, H, W) are
    scaled to [0, 1] per image once more and accurate to about 1e-7. grad-cam uses the biases of
    nn.Conv2d and nn.BatchNorm2d (including the effect of the running mean) and no others.

    Raises:
        NotApplicable: when called: the model executes no nn.Conv2d, or its layers with a bias do
            not run once each in the order in which they are defined.
    """

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        library = require("pytorch_grad_cam", extra="grad-cam")
        network = own_copy(model)
        _require_order(network, inputs)
        # One image at a time: every channel of every layer is held at the size of the image.
        return maps_of(library.FullGrad(network, []), inputs, targets, at_once=1)

    return explain


def _require_order(network: nn.Module, inputs: Tensor) -> None:
    """Refuse networks where grad-cam would combine biases with the gradients of other layers."""
    ran: list[nn.Module] = []
    handles = [
        module.register_forward_hook(lambda module, *_: ran.append(module))
        for module in network.modules()
    ]
    maps = executed_maps(network, inputs)
    for handle in handles:
        handle.remove()
    if not any(isinstance(module, nn.Conv2d) for module in maps.values()):
        raise NotApplicable("the model executes no nn.Conv2d whose output is a map")
    named = network.named_modules(remove_duplicate=False)
    defined = [module for _, module in named if _has_bias(module)]
    if [module for module in ran if _has_bias(module)] != defined:
        raise NotApplicable(
            "grad-cam's FullGrad matches biases and gradients by the order of definition, and in "
            "this model the layers with a bias do not run once each in that order"
        )
    if any(isinstance(layer, nn.BatchNorm2d) and layer.running_mean is None for layer in defined):
        raise NotApplicable(
            "grad-cam's FullGrad needs a running mean in every nn.BatchNorm2d, and one has none"
        )


def _has_bias(module: nn.Module) -> bool:
    # grad-cam also checks for the exact type.
    return type(module) in {nn.Conv2d, nn.BatchNorm2d} and module.bias is not None


ENTRIES = {
    "gradcam:FullGrad": Entry(
        factory=full_grad,
        method="full_grad",
        source="srinivas2019",
        cost="1 forward per call, then 1 forward + 1 backward",
        claims=claims("srinivas2019", "sign_convention"),
        sign="non_negative",
        inputs=IMAGES,
    ),
}
