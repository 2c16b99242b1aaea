"""The attack with gradients: sign steps that decrease the loss of the goal."""

import torch
from torch import Tensor
from torch.nn import functional

from pytest_xai.attacks.fooling.goals import Goal
from pytest_xai.attacks.fooling.ways import Way
from pytest_xai.attacks.fooling.worst import TOLERANCE, Ball, Worst, confidence
from pytest_xai.attacks.victim import two_or_more
from pytest_xai.bench.bench import Bench
from pytest_xai.core.seeds import seeded

__all__ = ["descend"]

# Size of the first step as a share of the ball's size; later steps are shorter.
_STRIDE = 0.25
_MOMENTUM = 0.75
# Sharpness of the smooth activations in the first and last step (Dombrowski et al. 2019).
_SHARPNESS = (10.0, 100.0)
# Share of the tolerance from which on a step restores the confidence instead.
_ALARM = 0.8


def descend(bench: Bench, way: Way, goal: Goal, worst: Worst, *, steps: int, every: int) -> None:
    """Minimise the goal's loss within the ball (Ghorbani et al. 2019, algorithm 1).

    The steps follow the sign of the gradient with momentum, and become shorter. If the prediction
    of an image is about to change, its step restores the confidence instead. For a map of one pass
    each step costs two forward and three backward evaluations: for the gradient of the map and for
    the prediction.

    Args:
        bench: provides the model and the images.
        way: differentiable computation of the maps.
        goal: provides the loss.
        worst: evaluates the candidates and keeps the worst.
        steps: number of steps.
        every: number of steps between two candidates.

    Raises:
        GuestError: the explainer or the model raised.
    """
    ball = worst.ball
    inputs = random_start(bench, ball)
    velocity = torch.zeros_like(inputs)
    first, last = _SHARPNESS
    held = bench.predictions()
    before = confidence(bench.logits(), held)
    for step in range(steps):
        progress = step / steps
        slope = way.slope(bench, goal, inputs, first * (last / first) ** progress)
        slope = _with_confidence(bench, inputs, slope, held, before)
        velocity = _MOMENTUM * velocity + _unit(slope)
        stride = _STRIDE * (1 - progress) * ball.size
        inputs = ball.project(inputs - stride * velocity.sign())
        if (step + 1) % every == 0:
            worst.offer(inputs)


def random_start(bench: Bench, ball: Ball) -> Tensor:
    """Draw inputs uniformly from the ball; at its centre some losses have a zero gradient."""
    random = bench.generator("fooling", "start")
    drawn = torch.rand(ball.centre.shape, generator=random).to(ball.centre)
    return ball.project(ball.centre + ball.size * (2 * drawn - 1))


def _with_confidence(
    bench: Bench, inputs: Tensor, slope: Tensor, held: Tensor, before: Tensor
) -> Tensor:
    """Return the slope; where the prediction is about to change, a slope that restores it.

    Args:
        bench: provides the model.
        inputs: the current inputs.
        slope: gradient of the loss at these inputs.
        held: the predicted classes that must not change, LongTensor (n,).
        before: their probabilities for the original images, (n,).
    """

    def restore(batch: Tensor, classes: Tensor, was: Tensor, own: Tensor) -> Tensor:
        leaf = batch.detach().clone().requires_grad_()
        logits = two_or_more(bench.subject.model(leaf))
        now = confidence(logits.detach(), classes)
        lost = logits.argmax(1) != classes
        # Cross entropy decreases with the confidence; a confidence above the original is lowered.
        sign = torch.where(lost | (now < was), 1.0, -1.0).to(logits)
        losses = functional.cross_entropy(logits, classes, reduction="none")
        (back,) = torch.autograd.grad((sign * losses).sum(), leaf)
        alarmed = lost | ((now - was).abs() > _ALARM * TOLERANCE)
        return torch.where(alarmed.reshape(-1, *[1] * (own.ndim - 1)), back, own)

    with torch.enable_grad(), seeded(bench.derive_seed("model", bench.images[0])):
        return bench.batched(restore, inputs, held, before, slope)


def _unit(slope: Tensor) -> Tensor:
    """Divide each image's slope by its mean magnitude; zeros stay zeros."""
    size = slope.abs().flatten(1).mean(1).clamp(min=torch.finfo(slope.dtype).tiny)
    return slope / size.reshape(-1, *[1] * (slope.ndim - 1))
