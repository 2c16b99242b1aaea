"""The attack by gradients: signed steps along the slope of the goal's loss."""

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

# Steps are this share of the ball's size at first, and shorter each time.
_STRIDE = 0.25
_MOMENTUM = 0.75
# The bends sharpen from the first to the last step, as in Dombrowski et al. 2019.
_SHARPNESS = (10.0, 100.0)
# Where the confidence has used up so much of what it may change, the step goes back to it.
_ALARM = 0.8


def descend(bench: Bench, way: Way, goal: Goal, worst: Worst, *, steps: int, every: int) -> None:
    """Walk down the goal's loss within the ball (Ghorbani et al. 2019, algorithm 1).

    Signed steps that grow shorter, with momentum. An image whose prediction is about to be lost
    steps back towards its confidence instead. Each step costs two forward and three backward
    evaluations for a map of one pass: those of the way, and those of the prediction.

    Args:
        bench: whose images.
        way: from inputs to maps with a graph.
        goal: whose loss.
        worst: looks at the candidates, and keeps the worst.
        steps: how many.
        every: so many steps one candidate is offered.

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
        slope = _kept_held(bench, inputs, slope, held, before)
        velocity = _MOMENTUM * velocity + _unit(slope)
        stride = _STRIDE * (1 - progress) * ball.size
        inputs = ball.project(inputs - stride * velocity.sign())
        if (step + 1) % every == 0:
            worst.offer(inputs)


def random_start(bench: Bench, ball: Ball) -> Tensor:
    """Inputs drawn evenly from the ball: at its centre some losses have no slope."""
    random = bench.generator("fooling", "start")
    drawn = torch.rand(ball.centre.shape, generator=random).to(ball.centre)
    return ball.project(ball.centre + ball.size * (2 * drawn - 1))


def _kept_held(bench: Bench, inputs: Tensor, slope: Tensor, held: Tensor, before: Tensor) -> Tensor:
    """The slope, or where the prediction is about to be lost the way away from it.

    Args:
        bench: whose model.
        inputs: where the walk is.
        slope: there.
        held: the predicted classes that are to stay, LongTensor (n,).
        before: their probabilities for the bench's own images, (n,).
    """

    def away(batch: Tensor, wanted: Tensor, was: Tensor, own: Tensor) -> Tensor:
        leaf = batch.detach().clone().requires_grad_()
        logits = two_or_more(bench.subject.model(leaf))
        now = confidence(logits.detach(), wanted)
        lost = logits.argmax(1) != wanted
        # Cross entropy falls as the confidence grows; one that is too large has to fall.
        sign = torch.where(lost | (now < was), 1.0, -1.0).to(logits)
        losses = functional.cross_entropy(logits, wanted, reduction="none")
        (back,) = torch.autograd.grad((sign * losses).sum(), leaf)
        alarmed = lost | ((now - was).abs() > _ALARM * TOLERANCE)
        return torch.where(alarmed.reshape(-1, *[1] * (own.ndim - 1)), back, own)

    with torch.enable_grad(), seeded(bench.derive_seed("model", bench.images[0])):
        return bench.batched(away, inputs, held, before, slope)


def _unit(slope: Tensor) -> Tensor:
    """Each image's slope over its mean magnitude; zeros stay zeros."""
    size = slope.abs().flatten(1).mean(1).clamp(min=torch.finfo(slope.dtype).tiny)
    return slope / size.reshape(-1, *[1] * (slope.ndim - 1))
