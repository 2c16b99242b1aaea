"""The classifier as an attack sees it, and running an attack so that nothing of it stays behind."""

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

# Populations of attacks without gradients: that many points per image of a batch go through the
# network at once, and fewer where that would be more elements than 16 images of 3 x 224 x 224.
_POINTS = 16
_ELEMENTS = 16 * 3 * 224 * 224


@dataclass(frozen=True, kw_only=True, slots=True)
class Victim:
    """A classifier with inputs to attack.

    Attributes:
        network: maps (n, *shape) to two logits or more; in evaluation mode, its evaluations are
            counted, and its weights need no gradient.
        inputs: (n, *shape).
        labels: the class to lead away from, LongTensor (n,).
        bounds: (low, high) that inputs keep.
        generators: one per input, on the CPU; of the seed, the subject, the attack and the image,
            so that an image's draws don't depend on the others'.
        batch: most inputs that go through the network at once, where there are many for each.
    """

    network: nn.Module
    inputs: Tensor
    labels: Tensor
    bounds: tuple[float, float]
    generators: Sequence[torch.Generator]
    batch: int

    @property
    def range(self) -> float:
        """From the lowest to the highest value of an input."""
        return self.bounds[1] - self.bounds[0]

    def logits(self, inputs: Tensor) -> Tensor:
        """Outputs for any number of inputs without a graph, (m, classes).

        Raises:
            GuestError: the model raised, or memory does not even hold one input.
        """
        with torch.no_grad():
            return in_batches(self.network, [inputs], self.batch)

    def margins(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """By how much the label's logit is above the highest other, (m,).

        As logarithms of probabilities differ by what logits differ by, an attack that sees
        probabilities alone can compute this, and it does not vanish where one of them is near 1.
        """
        return margin(self.logits(inputs), labels)

    def fooled(self, inputs: Tensor) -> Tensor:
        """Whether other classes than the labels are predicted, BoolTensor (n,).

        Args:
            inputs: that stand for the victim's own, one by one.
        """
        return self.logits(inputs).argmax(1) != self.labels

    def successful(self, made: Tensor) -> Tensor:
        """Those of (n, *shape) that fool the network; the victim's own inputs for the others."""
        fooled = self.fooled(made).reshape(-1, *[1] * (made.ndim - 1))
        return torch.where(fooled, made, self.inputs)


Attack = Callable[[Victim], Tensor]
"""Inputs after the attack, (n, *shape); those for which it found nothing as they were."""


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's logit less the highest other, (m,)."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own.squeeze(1) - others.amax(1)


def two_or_more(logits: Tensor) -> Tensor:
    """A logit for each class, (n, classes), where a single logit z becomes (-z / 2, z / 2).

    By softmax these have the probabilities that the logistic function gives to z.
    """
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def require_gradient(bench: Bench) -> None:
    """Refuse what no gradient-based attack can be carried out on.

    Raises:
        NotApplicable: the model has no gradient with respect to its inputs.
    """
    if not bench.differentiable:
        raise NotApplicable("the model has no gradient with respect to its inputs to attack by")


def carry_out(chunk: Bench, name: tuple[object, ...], attack: Attack) -> Tensor:
    """An attack's result for one chunk, not looked at; the model is given back as it was.

    Args:
        chunk: whose images.
        name: of the attack with its options: what its seeds follow from.
        attack: what to carry out. It finds the global generators seeded, too.

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
    """How many times as many points as images may go through the network at once."""
    return max(1, min(_POINTS, _ELEMENTS // (chunk.inputs[0].numel() * chunk.batch_size)))


@contextmanager
def _no_gradients_kept(model: nn.Module) -> Iterator[None]:
    """Attacks need the gradient of the input; those of the weights would cost a third more."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


class _TwoLogits(nn.Module):
    """A model of a single logit as the same classifier with two classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return two_or_more(self.model(inputs))
