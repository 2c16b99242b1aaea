"""Perturbed copies of each image, and how much outputs and maps change on them.

The copies and the model's outputs are the same for all explainers, and an explainer's maps are the
same for all checks, so that six checks cost one set of maps. Of the maps, only the changes and the
map that changed most are stored.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench, predicted
from pytest_xai.core.seeds import seeded
from pytest_xai.measures.arguments import as_float64, require_same
from pytest_xai.measures.reference_maps import halfway, other_images
from pytest_xai.perturbations.noise import random_direction
from pytest_xai.protocol import NamedExplainer

__all__ = ["COPIES", "RADIUS", "SMALL", "Neighbours", "largest", "neighbours", "perturbed"]

# Root mean square of the largest perturbation, as a share of the range of the inputs: about one
# grey level of 8 bits.
RADIUS = 0.005
# Half of the copies lie at the radius, half of them half as far.
_REACHES = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5)
COPIES = len(_REACHES)
# A divisor is at least this share of the range of the inputs, or of the largest absolute value of
# the map or of the representation.
SMALL = 0.1
# Marks a missing representation: a norm is never negative.
_NONE = -1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """Figures of K perturbed copies of n images; all norms are L2, in float64.

    A relative change is divided value by value, by at least a tenth of the largest value.

    Attributes:
        held: whether the prediction is that of the original, BoolTensor (n, K).
        distance: norm of the change of the input, (n, K).
        relative_distance: norm of the relative change of the input, (n, K).
        output_change: norm of the change of all outputs, (n, K).
        representation_change: norm of the relative change of the last layer's input, (n, K);
            negative if there is no representation.
        change: norm of the change of the map, (n, K).
        relative_change: norm of the relative change of the map, (n, K).
        size: norm of the map, (n,); NaN for a map of zeros, which has no relative change.
        limit: half of the change to another image's map, which is scaled to the same norm; at
            least the rounding error, (n,).
        relative_limit: the same for the relative change, (n,).
        farthest: the map that changed most among those that count, in the shape of the maps.
    """

    held: Tensor
    distance: Tensor
    relative_distance: Tensor
    output_change: Tensor
    representation_change: Tensor
    change: Tensor
    relative_change: Tensor
    size: Tensor
    limit: Tensor
    relative_limit: Tensor
    farthest: Tensor


def neighbours(bench: Bench, explainer: NamedExplainer) -> Neighbours:
    """Measure the changes on copies that are within `RADIUS` of each image.

    Args:
        bench: of the images.
        explainer: makes the maps, of the bench's targets.

    Raises:
        GuestError: the explainer or the model raised.
        InvalidArgument: a map has another shape than that of the original.
        NotApplicable: there is one image only, the inputs have no range, or the explainer's maps
            are stored.
    """
    others = other_images(bench.targets)
    maps = bench.maps(explainer)
    of_model = bench.share(("neighbours",), _model_changes)
    of_maps = bench.share(
        ("neighbours", explainer.name, id(explainer.call)),
        lambda chunk: _map_changes(chunk, explainer),
    )
    own = as_float64(maps).flatten(1)
    size = own.norm(dim=1)
    size = size.where(size > 0, torch.nan)
    others = others.to(own.device)
    other = own[others] * (size / size[others])[:, None]
    divisor = _divisor(own)
    relative_size = (own / divisor).norm(dim=1)
    return Neighbours(
        held=of_model["held"],
        distance=of_model["distance"],
        relative_distance=of_model["relative_distance"],
        output_change=of_model["output_change"],
        representation_change=of_model["representation_change"],
        change=as_float64(of_maps["change"]),
        relative_change=as_float64(of_maps["relative_change"]),
        size=size,
        limit=_limit(bench, (own - other).norm(dim=1), size),
        relative_limit=_limit(bench, ((own - other) / divisor).norm(dim=1), relative_size),
        farthest=of_maps["farthest"],
    )


def perturbed(chunk: Bench, number: int) -> Tensor:
    """Return one copy of each image of a chunk, moved in a random direction, (n, *shape).

    Args:
        chunk: a stretch of a bench as `Bench.chunks` makes them.
        number: which copy, less than `COPIES`.
    """
    low, high = chunk.bounds
    reach = _REACHES[number] * RADIUS * (high - low)
    step = random_direction(
        chunk.inputs,
        norm=reach * math.sqrt(chunk.inputs[0].numel()),
        bounds=(low, high),
        generator=chunk.generator("neighbours", number),
    )
    return chunk.inputs + step


def largest(figures: Tensor, held: Tensor) -> Tensor:
    """Return the largest of each image's figures that count, (n,); NaN where none does.

    Args:
        figures: (n, K); a NaN that counts gives NaN.
        held: which figures count, BoolTensor (n, K).
    """
    found = figures.where(held, -torch.inf).amax(1)
    return found.where(held.any(1), torch.nan)


def _limit(bench: Bench, null: Tensor, size: Tensor) -> Tensor:
    """Return half of the change to another map, or the rounding error if that is larger."""
    return torch.maximum(halfway(0.0, null), bench.rounding * size)


def _model_changes(chunk: Bench) -> dict[str, Tensor]:
    """Return the figures of `Neighbours` that do not depend on the explainer, (n, K) each."""
    low, high = chunk.bounds
    inputs = as_float64(chunk.inputs).flatten(1)
    divisor = inputs.abs().clamp(min=SMALL * (high - low))
    outputs, inside = _outputs_and_representation(chunk, chunk.inputs)
    figures: list[dict[str, Tensor]] = []
    for number in range(COPIES):
        copies = perturbed(chunk, number)
        step = as_float64(copies).flatten(1) - inputs
        theirs, within = _outputs_and_representation(chunk, copies)
        figures.append(
            {
                "held": predicted(theirs) == predicted(outputs),
                "distance": step.norm(dim=1),
                "relative_distance": (step / divisor).norm(dim=1),
                "output_change": (theirs - outputs).norm(dim=1),
                "representation_change": _representation_change(within, inside),
            }
        )
    return {name: torch.stack([each[name] for each in figures], 1) for name in figures[0]}


def _representation_change(there: Tensor, here: Tensor) -> Tensor:
    """Return the relative change, (n,), of representations (n, m), which may be empty."""
    if here.shape[1] == 0:
        return torch.full((len(here),), _NONE, dtype=here.dtype, device=here.device)
    change: Tensor = ((there - here) / _divisor(here)).norm(dim=1)
    return change


def _map_changes(chunk: Bench, explainer: NamedExplainer) -> dict[str, Tensor]:
    """Return the figures of `Neighbours` that depend on the maps: changes, (n, K), and one map."""
    maps = chunk.maps(explainer)
    own = as_float64(maps).flatten(1)
    divisor = _divisor(own)
    held = chunk.share(("neighbours",), _model_changes)["held"]
    farthest, record = own, torch.zeros(len(own), dtype=own.dtype, device=own.device)
    changes, relative = [], []
    for number in range(COPIES):
        theirs = chunk.explain(explainer, perturbed(chunk, number))
        require_same(theirs, "map of a perturbed input", maps, "the original's")
        step = as_float64(theirs).flatten(1) - own
        changes.append(step.norm(dim=1))
        relative.append((step / divisor).norm(dim=1))
        further = held[:, number] & (changes[-1] > record)
        record = changes[-1].where(further, record)
        farthest = torch.where(further[:, None], own + step, farthest)
    # It is stored as long as the bench exists, in the dtype of the maps, at least float32.
    dtype = torch.promote_types(maps.dtype, torch.float32)
    return {
        "change": torch.stack(changes, 1).to(dtype),
        "relative_change": torch.stack(relative, 1).to(dtype),
        "farthest": farthest.reshape(maps.shape).to(dtype),
    }


def _divisor(rows: Tensor) -> Tensor:
    """Return the absolute values, (n, m), at least a tenth of the largest."""
    sizes = rows.abs()
    return torch.maximum(sizes, SMALL * sizes.amax(1, keepdim=True))


def _outputs_and_representation(chunk: Bench, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs, (n, classes), and the last layer's input, (n, m) or (n, 0); float64.

    The last layer is the module with parameters of its own that is called last. There is no
    representation if it is the only one, or if its input is not one tensor with a row per image.
    """
    model = chunk.subject.model
    read: list[object] = []

    def note(_: nn.Module, arguments: tuple[object, ...]) -> None:
        read.append(arguments[0] if arguments else None)

    def ask(batch: Tensor) -> Tensor:
        read.clear()
        outputs = as_float64(model(batch))
        last = read[-1] if len(read) > 1 else None
        if not isinstance(last, Tensor) or len(last) != len(batch):
            return outputs
        return torch.cat([outputs, as_float64(last).flatten(1)], 1)

    layers = [each for each in model.modules() if any(True for _ in each.parameters(recurse=False))]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        with torch.no_grad(), seeded(chunk.derive_seed("neighbours", chunk.images[0])):
            found = chunk.batched(ask, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found[:, : chunk.classes], found[:, chunk.classes :]
