"""Training of the two generators that `xai:AdversarialGenerators` uses, for one classifier."""

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
    """Weights of the terms of the loss, each of which is a mean over the batch.

    Attributes:
        keep: weight of the cross-entropy between the class probabilities of the similar image and
            those of the image.
        change: weight of max(0, d + 1), where d is the adversarial image's logit of the image's
            class minus its largest other logit.
        near: weight of the mean absolute differences between image and similar image and between
            image and adversarial image, as shares of the range.
        alike: weight of the mean absolute difference between the two generated images.
        smooth: weight of the mean absolute change of that difference between adjacent pixels.
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

    No labels are needed, since the class to keep and to change is the model's prediction. During
    training, images are shifted at random by up to an eighth of a side. All computations have the
    images' dtype; in float64 the weights, rounded at the end, are the same on other machines.

    Args:
        model: maps (N, C, H, W) to logits (N, classes) of at least two classes; it is not changed.
        images: (N, C, H, W), both sides at least 4, within the bounds.
        bounds: smallest and largest value of a pixel.
        epochs: number of passes over the images.
        seed: seed of the initial weights, the order of images and the shifts. The global random
            generators are not changed.
        weights: weights of the terms of the loss; None takes the defaults.

    Returns:
        Tensors to save in a safetensors file, for the option ``weights`` of the explainer.

    Raises:
        InvalidArgument: ``images`` is not such a batch, the lower bound is not below the upper one,
            ``epochs`` is not a positive integer, or the model has a single output.
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
    """Compute the terms of the loss, by the names of their `Weights`.

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
    """Measure the success of the generators; for perfect generators both shares are 1.

    Args:
        model: in evaluation mode.
        pair: the generators.
        images: (N, C, H, W), preferably images that were not used for training.

    Returns:
        "kept": share of similar images whose class is that of the image; "overturned": share of
        adversarial images of another class; "distance": mean absolute difference of the two images.
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
    """Return the logit of a class minus the largest other logit, (N,)."""
    own = logits.gather(1, classes[:, None])
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)


def _shifted(images: Tensor, bounds: tuple[float, float], random: torch.Generator) -> Tensor:
    """Shift all images of a batch by the same pixels, and fill with the lowest value."""
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
            expected="a floating-point batch (N, C, H, W), both sides at least 4",
        )
    low, high = bounds
    if not low < high:
        raise InvalidArgument.of("bounds", got=str(bounds), expected="(low, high) with low < high")
    if float(images.min()) < low or float(images.max()) > high:
        raise InvalidArgument.of(
            "images",
            got=f"values from {float(images.min()):g} to {float(images.max()):g}",
            expected=f"values within the bounds {bounds}",
        )
