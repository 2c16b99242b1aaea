"""CAM, for networks that end in global average pooling and one linear layer."""

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
    """The maps before the global average pooling, weighted for the class (Zhou 2016, eq. 2).

    CAM = sum_k w_k^c A_k, where the means of the K maps A_k over positions are the inputs of the
    linear layer that computes the model's outputs, and w^c are its weights for the target. The mean
    of CAM over positions plus the bias is the logit. CAM is signed and is interpolated linearly to
    the input's size.

    The maps and the linear layer are found by running the model on one image: the input of the last
    nn.Linear must be the mean over positions of a module's output, and its output must be the
    model's output. If a nonlinearity before the pooling is called as a function, the maps are not
    found.

    Args:
        rectify: True sets negative values to 0, before the interpolation.

    Returns:
        An explainer whose maps are (N, 1, *spatial).

    Raises:
        InvalidArgument: ``rectify`` is not a boolean.
        NotApplicable: when called: the network has another structure.
    """
    rectify = flag("rectify", rectify)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        layer, head = _structure(model, inputs)
        weights = head.weight.detach()[targets]
        # One image at a time, so that rounding does not depend on the batch.
        activations = torch.cat([feature_maps(model, layer, image)[0] for image in inputs.split(1)])
        maps = torch.einsum("nk,nk...->n...", weights, activations).unsqueeze(1)
        if rectify:
            maps = maps.relu()
        return resized(maps, inputs.shape[2:]).to(inputs)

    return explain


@dataclass(slots=True)
class _Trace:
    """Records of one pass: the means of the modules' maps, and the last linear layer.

    Attributes:
        pooled: by module, the mean (1, K) of its last map and the map's number of positions.
        head: name, input and output of the last nn.Linear that ran on an input (1, K).
    """

    pooled: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    head: tuple[str, Tensor, Tensor] | None = None


def _structure(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, nn.Linear]:
    """Return the module whose output is the maps, and the last linear layer."""
    # If the model is wrapped, the empty name gives the user's own model.
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
            f"CAM needs a single linear layer at the end; the output of the last one, {name!r}, is "
            "not the output of the model"
        )
    candidates = [
        (places, layer)
        for layer, (mean, places) in trace.pooled.items()
        if mean.shape == features.shape and _equal(mean, features)
    ]
    # The output of the pooling itself is a map of one position with the same mean.
    places, layer = max(candidates, key=lambda found: found[0], default=(0, ""))
    if places < 2:
        raise NotApplicable(_unpooled(name, features, trace, places))
    head = root.get_submodule(name)
    assert isinstance(head, nn.Linear)
    return root.get_submodule(layer), head


def _unpooled(name: str, features: Tensor, trace: _Trace, places: int) -> str:
    if places:
        return f"CAM needs maps; the input of {name!r} is pooled from maps of a single position"
    maps = ", ".join(trace.pooled) or "none"
    return (
        "CAM needs global average pooling right before the last linear layer; the input of "
        f"{name!r}, {features.shape[1]} features, is not the mean over positions of any module's "
        f"output (modules whose output is a map: {maps})"
    )


def _run(model: nn.Module, root: nn.Module, inputs: Tensor) -> tuple[_Trace, Tensor]:
    trace, handles = _Trace(), []
    for name, module in root.named_modules():

        def note(
            module: nn.Module, given: tuple[object, ...], output: object, name: str = name
        ) -> None:
            if not isinstance(output, Tensor):
                return
            # Means and copies are taken at once, since later modules may write in place.
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
    """Return whether two tensors are equal up to the rounding of sums in another order."""
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
