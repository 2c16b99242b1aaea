"""The difference between a similar and an adversarial image from two trained generators."""

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
    """The difference between two generated images that keep and change the class (Charachon 2020).

    One generator was trained to make images to which the classifier gives the same class as to the
    input, the other to make similar images of another class. The map is |similar - adversarial|.

    The classifier is used only in training. The map therefore explains the class predicted by the
    model of the training, and ignores the model and the target that are given. The bundled
    generators were trained for the subject ``digits``. `train_generators` trains others.

    Args:
        weights: path of a safetensors file with the result of `train_generators`; None takes the
            bundled generators.

    Raises:
        InvalidArgument: ``weights`` is not the path of such a file.
        NotApplicable: when called: the inputs have another shape than the images of the training.
        BrokenData: when called: the bundled weights are missing or were changed.
    """
    given = None if weights is None else _read(text("weights", weights))

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        pair = bundled_pair() if given is None else copy.deepcopy(given)
        if inputs.shape[1:] != pair.shape:
            raise NotApplicable(
                f"the generators were trained on images of shape {tuple(pair.shape)}, got "
                f"{tuple(inputs.shape[1:])}: train generators for this model with train_generators"
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
    """Return the generators trained for the bundled digits, on the CPU, in float32.

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
            expected="a safetensors file with the result of train_generators",
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
