"""Training two generators for a classifier, as `xai:AdversarialGenerators` uses them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pytest_xai.core.subject import evaluating
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import whole
from pytest_xai.explainers.own.generator_network import GeneratorPair, state_of

__all__ = ["Weights", "generator_losses", "success", "train_generators"]

_BATCH = 64
_LEARNING_RATE = 0.004


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """What the terms of the loss count, each a mean over the batch.

    Attributes:
        keep: cross-entropy of the similar image's class probabilities to the image's own.
        change: how far the adversarial image's logit of the class found in the image is from
            lying a margin of 1 below the largest other; zero beyond.
        near: mean absolute difference, in shares of the range, of image and similar image, and of
            image and adversarial image.
        alike: mean absolute difference of the two generated images.
        smooth: mean absolute step of that difference from pixel to pixel.
    """

    keep: float = 1.0
    change: float = 1.0
    near: float = 8.0
    alike: float = 5.0
    smooth: float = 1.0


def train_generators(
    model: nn.Module,
    images: Tensor,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    epochs: int = 40,
    seed: int = 0,
    weights: Weights | None = None,
) -> dict[str, Tensor]:
    """Train the two generators of Charachon 2020 for one classifier.

    No label is needed: the class to keep and to overturn is the one that the model finds. The
    images are shifted at random by up to an eighth of a side while training. All is computed in
    the images' dtype; float64 makes the weights, rounded at the end, repeatable on other machines.

    Args:
        model: (N, C, H, W) to logits (N, classes), at least two; it stays as it is.
        images: (N, C, H, W), both sides at least 4, within the bounds.
        bounds: smallest and largest value of a pixel.
        epochs: how often each image is seen.
        seed: of first weights, order and shifts. The global generators are left as they are.
        weights: what the terms of the loss count; None: the defaults.

    Returns:
        Tensors to save in a safetensors file, for the option ``weights`` of the explainer.

    Raises:
        InvalidArgument: images that are no such batch, bounds without a range, ``epochs`` no
            positive integer, a model of a single output.
    """
    epochs = whole("epochs", epochs)
    _require_images(images, bounds)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pair = GeneratorPair(tuple(images.shape[1:]), bounds)
    pair.to(images)
    random = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(images) // _BATCH)
    optimiser = torch.optim.AdamW(pair.parameters(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=steps)
    with evaluating(model), torch.enable_grad():
        for _ in range(epochs):
            for batch in torch.randperm(len(images), generator=random).split(_BATCH):
                shown = _shifted(images[batch].detach(), bounds, random)
                terms = generator_losses(model, pair, shown)
                loss = _weighted(terms, weights or Weights())
                parameters = list(pair.parameters())
                gradients = torch.autograd.grad(loss, parameters)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                optimiser.step()
                schedule.step()
    return state_of(pair)


def generator_losses(model: nn.Module, pair: GeneratorPair, images: Tensor) -> dict[str, Tensor]:
    """The terms of the loss, by the names of their `Weights`.

    Args:
        model: in evaluation mode.
        pair: the generators.
        images: (N, C, H, W).

    Raises:
        InvalidArgument: the model has a single output.
    """
    with torch.no_grad():
        found = model(images)
    if found.ndim != 2 or found.shape[1] < 2:
        raise InvalidArgument.of(
            "model", got=f"outputs of shape {tuple(found.shape)}", expected="(N, classes >= 2)"
        )
    similar, adversarial = pair(images)
    change = (similar - adversarial) / (pair.bounds[1] - pair.bounds[0])
    span = pair.bounds[1] - pair.bounds[0]
    return {
        "keep": functional.cross_entropy(model(similar), found.softmax(1)),
        "change": _lead(model(adversarial), found.argmax(1)).add(1).relu().mean(),
        "near": ((images - similar).abs().mean() + (images - adversarial).abs().mean()) / span,
        "alike": change.abs().mean(),
        "smooth": change.diff(dim=2).abs().mean() + change.diff(dim=3).abs().mean(),
    }


@torch.no_grad()
def success(model: nn.Module, pair: GeneratorPair, images: Tensor) -> dict[str, float]:
    """What the generators reach: both shares would be 1 if they did what they are for.

    Args:
        model: in evaluation mode.
        pair: the generators.
        images: (N, C, H, W), best some that they were not trained on.

    Returns:
        "kept": share of similar images with the class found in the image; "overturned": share of
        adversarial images with another; "distance": mean absolute difference of the two images.
    """
    similar, adversarial = pair(images)
    classes = model(images).argmax(1)
    return {
        "kept": float((model(similar).argmax(1) == classes).double().mean()),
        "overturned": float((model(adversarial).argmax(1) != classes).double().mean()),
        "distance": float((similar - adversarial).abs().mean()),
    }


def _weighted(terms: dict[str, Tensor], weights: Weights) -> Tensor:
    parts = [getattr(weights, name) * term for name, term in terms.items()]
    return torch.stack(parts).sum()


def _lead(logits: Tensor, classes: Tensor) -> Tensor:
    """How far the logit of a class lies above the largest other, (N,)."""
    own = logits.gather(1, classes[:, None])
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)


def _shifted(images: Tensor, bounds: tuple[float, float], random: torch.Generator) -> Tensor:
    """All images of a batch shifted by the same few places; what comes in has the lowest value."""
    height, width = images.shape[2:]
    down, right = height // 8, width // 8
    padded = functional.pad(images, (right, right, down, down), value=bounds[0])
    top = int(torch.randint(2 * down + 1, (), generator=random))
    left = int(torch.randint(2 * right + 1, (), generator=random))
    return padded[:, :, top : top + height, left : left + width]


def _require_images(images: Tensor, bounds: tuple[float, float]) -> None:
    if images.ndim != 4 or min(images.shape[2:]) < 4 or not images.is_floating_point():
        raise InvalidArgument.of(
            "images",
            got=f"{images.dtype} of shape {tuple(images.shape)}",
            expected="floating (N, C, H, W) with both sides at least 4",
        )
    low, high = bounds
    if not low < high:
        raise InvalidArgument.of("bounds", got=str(bounds), expected="(low, high), low below high")
    if float(images.min()) < low or float(images.max()) > high:
        raise InvalidArgument.of(
            "images",
            got=f"values from {float(images.min()):g} to {float(images.max()):g}",
            expected=f"values within the bounds {bounds}",
        )
