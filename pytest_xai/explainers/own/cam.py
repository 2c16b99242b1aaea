"""CAM: what each place adds to a class behind global average pooling and one linear layer."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.arguments import flag
from pytest_xai.explainers.adapting.entry import SPATIAL, Claim, Entry, Variant, claims
from pytest_xai.explainers.own.features import feature_maps
from pytest_xai.explainers.own.masking import resized

__all__ = ["ENTRIES", "cam"]


def cam(*, rectify: bool = False) -> Callable[..., Tensor]:
    """The maps in front of the global average pooling, weighted for the class (Zhou 2016, eq. 2).

    CAM = sum_k w_k^c A_k, with A_k the K maps whose means over places enter the one linear layer
    that gives the model's outputs, and w^c its weights for the target: the mean of CAM over places
    plus the bias is the logit. It is signed, and interpolated linearly to the input's size.

    Where maps and head are is found by running the model on one image: the input of the last
    nn.Linear has to be the mean over places of what some module returns, and its output the
    model's. A nonlinearity that is called as a function in front of the pooling hides the maps.

    Args:
        rectify: set negative values to 0 (before the interpolation).

    Returns:
        An explainer whose maps are (N, 1, *spatial).

    Raises:
        InvalidArgument: ``rectify`` is no boolean.
        NotApplicable: when called: a network of another form, with what was found.
    """
    rectify = flag("rectify", rectify)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        layer, head = _structure(model, inputs)
        weights = head.weight.detach()[targets]
        # One by one, so that no map depends on the rounding of another batch.
        activations = torch.cat([feature_maps(model, layer, image)[0] for image in inputs.split(1)])
        maps = torch.einsum("nk,nk...->n...", weights, activations).unsqueeze(1)
        if rectify:
            maps = maps.relu()
        return resized(maps, inputs.shape[2:]).to(inputs)

    return explain


@dataclass(slots=True)
class _Trace:
    """What one pass shows: means over places of the modules' maps, and the last linear layer.

    Attributes:
        pooled: per module the mean of its last map, (1, K), and the map's number of places.
        head: the last nn.Linear that ran on (1, K), by name, with input and output.
    """

    pooled: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    head: tuple[str, Tensor, Tensor] | None = None


def _structure(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, nn.Linear]:
    """The module that gives the maps, and the head."""
    # A wrapper finds its user's own model under the empty name.
    root = model.get_submodule("")
    trace, outputs = _run(model, root, inputs)
    if trace.head is None:
        raise NotApplicable(
            "CAM needs global average pooling and a single linear layer; the model executes no "
            "nn.Linear on one vector per image"
        )
    name, features, scores = trace.head
    if outputs.numel() != scores.numel() or not _equal(outputs.flatten(), scores.flatten()):
        raise NotApplicable(
            f"CAM needs a single linear layer at the end; the last one, {name!r}, does not give "
            "the model's outputs"
        )
    alike = [
        (places, layer)
        for layer, (mean, places) in trace.pooled.items()
        if mean.shape == features.shape and _equal(mean, features)
    ]
    # Pooling itself returns maps of one place with the same mean.
    places, layer = max(alike, key=lambda found: found[0], default=(0, ""))
    if places < 2:
        raise NotApplicable(_unpooled(name, features, trace, places))
    head = root.get_submodule(name)
    assert isinstance(head, nn.Linear)
    return root.get_submodule(layer), head


def _unpooled(name: str, features: Tensor, trace: _Trace, places: int) -> str:
    if places:
        return f"CAM needs maps; the input of {name!r} is pooled from maps of a single place"
    maps = ", ".join(trace.pooled) or "none"
    return (
        "CAM needs global average pooling right before the last linear layer; the input of "
        f"{name!r}, {features.shape[1]} features, is the mean over places of no module's output "
        f"(modules that give maps: {maps})"
    )


def _run(model: nn.Module, root: nn.Module, inputs: Tensor) -> tuple[_Trace, Tensor]:
    trace, handles = _Trace(), []
    for name, module in root.named_modules():

        def note(
            module: nn.Module, given: tuple[object, ...], output: object, name: str = name
        ) -> None:
            if not isinstance(output, Tensor):
                return
            # Means are taken and vectors copied at once: modules behind may write in place.
            if output.ndim == inputs.ndim:
                maps = output.flatten(2)
                trace.pooled[name] = maps.mean(2), maps.shape[2]
            if isinstance(module, nn.Linear) and output.ndim == 2 and isinstance(given[0], Tensor):
                trace.head = name, given[0].clone(), output.clone()

        handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            outputs: Tensor = model(inputs[:1].detach().clone())
    finally:
        for handle in handles:
            handle.remove()
    return trace, outputs


def _equal(first: Tensor, second: Tensor) -> bool:
    """Equal up to the rounding of sums in another order, on the scale of the largest value."""
    scale = float(second.abs().max())
    tolerance = 1e3 * torch.finfo(second.dtype).eps * scale
    return bool((first - second).abs().max() <= tolerance)


ENTRIES = {
    "xai:CAM": Entry(
        factory=cam,
        method="cam",
        variants=(Variant(method="cam_rectified", when={"rectify": True}),),
        source="zhou2016",
        cost="1 forward per call, then 1 forward",
        claims=(
            *claims("kindermans2019", "shift_invariance"),
            Claim(check="sign_convention", source="selvaraju2017", when={"rectify": True}),
        ),
        sign="non_negative",
        inputs=SPATIAL,
    ),
}
