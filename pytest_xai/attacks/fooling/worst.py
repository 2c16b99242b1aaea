"""The worst perturbation found; every candidate is evaluated on the network itself."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.attacks.fooling.goals import Goal, one_channel
from pytest_xai.attacks.verified import slack_of, within
from pytest_xai.attacks.victim import two_or_more
from pytest_xai.bench.bench import Bench, predicted
from pytest_xai.protocol import NamedExplainer

__all__ = ["TOLERANCE", "Ball", "Worst", "confidence", "keeps_prediction"]

# Largest allowed change of the probability of the predicted class.
TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Ball:
    """The set of allowed inputs: within the bounds and a distance in the maximum norm.

    Attributes:
        centre: the original inputs, (n, *shape).
        bounds: (low, high).
        size: largest change of a value, in units of the inputs.
    """

    centre: Tensor
    bounds: tuple[float, float]
    size: float

    @classmethod
    def around(cls, bench: Bench, epsilon: float) -> "Ball":
        """Return the ball whose size is the share ``epsilon`` of the range of the inputs."""
        low, high = bench.bounds
        return cls(centre=bench.inputs, bounds=(low, high), size=epsilon * (high - low))

    def project(self, inputs: Tensor) -> Tensor:
        """Return the points of the ball that are nearest to these inputs."""
        moved = self.centre + (inputs - self.centre).clamp(-self.size, self.size)
        return moved.clamp(*self.bounds)

    def contains(self, inputs: Tensor) -> Tensor:
        """Return which inputs are in the ball up to rounding, BoolTensor (n,); false for NaN."""
        slack = slack_of(self.bounds, inputs.dtype)
        near = (inputs - self.centre).abs() <= self.size + slack
        return near.flatten(1).all(1) & within(inputs, self.bounds, slack)


class Worst:
    """The valid candidate of each image that changes its map most.

    A candidate is valid if it lies in the ball and the network predicts the class of the original,
    with a probability that changes by at most `TOLERANCE`. The remaining similarity is measured on
    the explainer's map of the network itself.

    Args:
        bench: provides the model and the images.
        explainer: the explainer under attack.
        goal: the goal of the attack.
        ball: the set of allowed inputs.

    Attributes:
        ball: the set of allowed inputs.
        inputs: the worst candidates so far, (n, *shape); at first the originals.
        maps: the maps of ``inputs``, (n, *shape) or (n, 1, *spatial).
        kept: remaining similarity to the original maps, (n,).
        tries: number of candidates per image so far.
    """

    def __init__(self, bench: Bench, explainer: NamedExplainer, goal: Goal, ball: Ball) -> None:
        self._bench, self._explainer, self._goal = bench, explainer, goal
        self.ball = ball
        self.inputs = bench.inputs.clone()
        self.maps = bench.maps(explainer)
        self.kept = goal.kept(one_channel(self.maps), goal.reference)
        self.tries = 0

    def offer(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate one candidate for each image.

        Args:
            candidates: (n, *shape).

        Returns:
            Which candidates are valid, BoolTensor (n,), and their loss, (n,).

        Raises:
            GuestError: the explainer or the model raised.
        """
        maps = self._bench.explain(self._explainer, candidates)
        seen = one_channel(maps)
        kept = self._goal.kept(seen, self._goal.reference)
        counts = self.ball.contains(candidates) & keeps_prediction(self._bench, candidates)
        worse = counts & (kept < self.kept)
        self.inputs = _where(worse, candidates, self.inputs)
        self.maps = _where(worse, maps, self.maps)
        self.kept = torch.where(worse, kept, self.kept)
        self.tries += 1
        return counts, self._goal.loss(seen, self._goal.reference)


def keeps_prediction(bench: Bench, inputs: Tensor) -> Tensor:
    """Return which inputs have the prediction of the bench's own images, BoolTensor (n,).

    The class must be the same, and its probability may change by at most `TOLERANCE`. Costs one
    forward evaluation per image.
    """
    logits = bench.logits(inputs)
    before = bench.predictions()
    change = confidence(logits, before) - confidence(bench.logits(), before)
    return (predicted(logits) == before) & (change.abs() <= TOLERANCE)


def confidence(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the probability of the class, (n,): softmax, or the logistic function of one logit."""
    return two_or_more(logits).softmax(1).gather(1, classes[:, None])[:, 0]


def _where(chosen: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    return torch.where(chosen.reshape(-1, *[1] * (ours.ndim - 1)), ours, theirs)
