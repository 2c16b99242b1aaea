"""The classifier that an attack gets, and a way to run an attack without side effects."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guarded_call import in_batches
from pytest_xai.core.seeds import seeded
from pytest_xai.errors import NotApplicable

__all__ = ["Attack", "Victim", "carry_out", "require_gradient", "two_or_more"]

# Attacks without gradients evaluate this many points per image of a batch at once, and fewer if
# their elements would exceed those of 16 images of 3 x 224 x 224.
_POINTS = 16
_ELEMENTS = 16 * 3 * 224 * 224


@dataclass(frozen=True, kw_only=True, slots=True)
class Victim:
    """A classifier with the inputs to attack.

    Attributes:
        network: maps (n, *shape) to two or more logits. It is in evaluation mode, its evaluations
            are counted, and its weights require no gradient.
        inputs: (n, *shape).
        labels: the classes that the attack shall change, LongTensor (n,).
        bounds: (low, high), the range of valid inputs.
        generators: one per input, on the CPU. Their seeds depend on the seed of the run, the
            subject, the attack and the image, so that images do not affect each other.
        batch: maximum number of inputs that go through the network at once.
    """

    network: nn.Module
    inputs: Tensor
    labels: Tensor
    bounds: tuple[float, float]
    generators: Sequence[torch.Generator]
    batch: int

    @property
    def range(self) -> float:
        """Difference between the upper and the lower bound."""
        return self.bounds[1] - self.bounds[0]

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the outputs for any number of inputs, without a graph, (m, classes).

        Raises:
            GuestError: the model raised, or the memory is too small even for one input.
        """
        with torch.no_grad():
            return in_batches(self.network, [inputs], self.batch)

    def margins(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the logit of the label minus the highest other logit, (m,).

        Differences of logits are differences of log probabilities, so that an attack that sees
        only probabilities can compute them. They do not vanish where a probability is near 1.
        """
        return margin(self.logits(inputs), labels)

    def fooled(self, inputs: Tensor) -> Tensor:
        """Return where the predicted class is not the label, BoolTensor (n,).

        Args:
            inputs: (n, *shape), one for each of the victim's own inputs.
        """
        return self.logits(inputs).argmax(1) != self.labels

    def successful(self, made: Tensor) -> Tensor:
        """Keep the inputs (n, *shape) that fool the network; replace the others by originals."""
        fooled = self.fooled(made).reshape(-1, *[1] * (made.ndim - 1))
        return torch.where(fooled, made, self.inputs)


Attack = Callable[[Victim], Tensor]
"""Returns the inputs after the attack, (n, *shape); unchanged where the attack found nothing."""


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logit of the label minus the highest other logit, (m,)."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own.squeeze(1) - others.amax(1)


def two_or_more(logits: Tensor) -> Tensor:
    """Return one logit per class, (n, classes); a single logit z becomes (-z / 2, z / 2).

    Softmax of these two gives the same probabilities as the logistic function of z.
    """
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def require_gradient(bench: Bench) -> None:
    """Refuse a model that gradient-based attacks cannot attack.

    Raises:
        NotApplicable: the model has no gradient with respect to its inputs.
    """
    if not bench.differentiable:
        raise NotApplicable(
            "the model has no gradient with respect to its inputs, which this attack needs"
        )


def carry_out(chunk: Bench, name: tuple[object, ...], attack: Attack) -> Tensor:
    """Run an attack on one chunk and return its unverified result; the model is restored.

    Args:
        chunk: provides the model and the images.
        name: name and options of the attack, from which its seeds are derived.
        attack: the attack. The global generators are seeded as well while it runs.

    Raises:
        GuestError: the model raised.
        NotApplicable: the inputs have no range.
    """
    model = chunk.subject.model
    network = _TwoLogits(model).eval() if chunk.classes == 1 else model
    labels = chunk.predictions() if chunk.classes == 1 else chunk.targets
    bounds = chunk.bounds

    def one_batch(inputs: Tensor, classes: Tensor, images: Tensor) -> Tensor:
        seeds = [chunk.derive_seed("attack", *name, image) for image in images.tolist()]
        victim = Victim(
            network=network,
            inputs=inputs,
            labels=classes,
            bounds=bounds,
            generators=[torch.Generator().manual_seed(seed) for seed in seeds],
            batch=chunk.batch_size * _points_per_image(chunk),
        )
        with _no_gradients_kept(model), chunk.guard.watch(), seeded(seeds[0]):
            return attack(victim).detach()

    return chunk.batched(one_batch, chunk.inputs, labels, torch.tensor(chunk.images))


def _points_per_image(chunk: Bench) -> int:
    """Return how many points per image of a batch may go through the network at once."""
    return max(1, min(_POINTS, _ELEMENTS // (chunk.inputs[0].numel() * chunk.batch_size)))


@contextmanager
def _no_gradients_kept(model: nn.Module) -> Iterator[None]:
    """Disable gradients of the weights: attacks do not need them, and they cost a third more."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


class _TwoLogits(nn.Module):
    """Wraps a model with a single logit as the same classifier with two classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return two_or_more(self.model(inputs))
