"""The difference of a similar and an adversarial image, drawn by two trained generators."""

import copy
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting.arguments import text
from pytest_xai.explainers.adapting.entry import IMAGES, Entry
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.own.generator_network import GeneratorPair, pair_of
from pytest_xai.subjects import bundled

__all__ = ["ENTRIES", "adversarial_generators", "bundled_pair"]


def adversarial_generators(*, weights: str | None = None) -> Callable[..., Tensor]:
    """What two trained generators draw differently to keep or change the class (Charachon 2020).

    One generator was trained to draw images that the classifier reads as it reads the input, the
    other to draw near ones that it reads otherwise. The map is |similar - adversarial|.

    The classifier is asked while they are trained and never again: the map is that of the model
    that they were trained for, whatever model is given, and of the class that it finds. The
    bundled ones were trained for the subject ``digits``. `train_generators` trains others.

    Args:
        weights: path of a safetensors file with what `train_generators` returned; None: the
            bundled ones.

    Raises:
        InvalidArgument: ``weights`` is no path of such a file.
        NotApplicable: when called: inputs of another shape than the generators were trained on.
        BrokenData: when called: the bundled weights are missing or were changed.
    """
    given = None if weights is None else _read(text("weights", weights))

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        pair = bundled_pair() if given is None else copy.deepcopy(given)
        if inputs.shape[1:] != pair.shape:
            raise NotApplicable(
                f"the generators were trained on images of shape {tuple(pair.shape)}, got "
                f"{tuple(inputs.shape[1:])}: train some for this model (train_generators)"
            )
        pair.to(inputs)
        maps = []
        with torch.no_grad():
            for images in inputs.split(images_per_pass(inputs)):
                similar, adversarial = pair(images)
                maps.append((similar - adversarial).abs())
        return torch.cat(maps)

    return explain


def bundled_pair() -> GeneratorPair:
    """The generators trained for the bundled digits, on the CPU, in float32.

    Raises:
        BrokenData: the bundled weights are missing or were changed.
    """
    return pair_of(bundled.read_tensors(bundled.find_folder("generators"), "digits.safetensors"))


def _read(path: str) -> GeneratorPair:
    try:
        return pair_of(safetensors.torch.load(Path(path).read_bytes()))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InvalidArgument.of(
            "weights",
            got=f"{path!r} ({type(error).__name__}: {str(error).splitlines()[0]})",
            expected="a safetensors file with what train_generators returned",
        ) from error


ENTRIES = {
    "xai:AdversarialGenerators": Entry(
        factory=adversarial_generators,
        method="adversarial_generators",
        source="charachon2020",
        cost="none",
        inputs=IMAGES,
        class_agnostic=True,
    ),
}
