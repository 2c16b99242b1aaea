"""The worst perturbation found: every candidate is looked at on the network itself."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.attacks.fooling.goals import Goal, one_channel
from pytest_xai.attacks.verified import slack_of, within
from pytest_xai.attacks.victim import two_or_more
from pytest_xai.bench.bench import Bench, predicted
from pytest_xai.protocol import NamedExplainer

__all__ = ["TOLERANCE", "Ball", "Worst", "confidence", "keeps_prediction"]

# The probability of the predicted class may change by so much.
TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Ball:
    """The inputs that a perturbation may lead to: within the bounds and the maximum norm.

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
        """The ball whose size is the share ``epsilon`` of the range of the inputs."""
        low, high = bench.bounds
        return cls(centre=bench.inputs, bounds=(low, high), size=epsilon * (high - low))

    def project(self, inputs: Tensor) -> Tensor:
        """What of the ball is nearest to these inputs."""
        moved = self.centre + (inputs - self.centre).clamp(-self.size, self.size)
        return moved.clamp(*self.bounds)

    def contains(self, inputs: Tensor) -> Tensor:
        """Whether they are in it up to rounding, BoolTensor (n,); never for NaN."""
        slack = slack_of(self.bounds, inputs.dtype)
        near = (inputs - self.centre).abs() <= self.size + slack
        return near.flatten(1).all(1) & within(inputs, self.bounds, slack)


class Worst:
    """The candidate that leaves least of each image's map, of those that count.

    A candidate counts if it lies in the ball and the network itself predicts its original's class
    for it, with a probability within `TOLERANCE`. What is left of the map is measured on the
    explainer's own map of the network itself.

    Args:
        bench: whose images.
        explainer: whose maps.
        goal: of the attack.
        ball: where candidates may lie.

    Attributes:
        ball: as given.
        inputs: the worst so far, (n, *shape); the originals to begin with.
        maps: theirs, (n, *shape) or (n, 1, *spatial).
        kept: what is left of the maps, (n,).
        tries: candidates looked at so far.
    """

    def __init__(self, bench: Bench, explainer: NamedExplainer, goal: Goal, ball: Ball) -> None:
        self._bench, self._explainer, self._goal = bench, explainer, goal
        self.ball = ball
        self.inputs = bench.inputs.clone()
        self.maps = bench.maps(explainer)
        self.kept = goal.kept(one_channel(self.maps), goal.reference)
        self.tries = 0

    def offer(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Look at one candidate for each image.

        Args:
            candidates: (n, *shape).

        Returns:
            Which of them count, BoolTensor (n,), and their loss, (n,).

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
    """Whether the prediction for these inputs is that for the bench's own, BoolTensor (n,).

    The same class, with a probability that is at most `TOLERANCE` lower or higher. One forward
    evaluation per image.
    """
    logits = bench.logits(inputs)
    before = bench.predictions()
    change = confidence(logits, before) - confidence(bench.logits(), before)
    return (predicted(logits) == before) & (change.abs() <= TOLERANCE)


def confidence(logits: Tensor, classes: Tensor) -> Tensor:
    """Probability of the class by softmax, (n,); of a single logit by its logistic function."""
    return two_or_more(logits).softmax(1).gather(1, classes[:, None])[:, 0]


def _where(chosen: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    return torch.where(chosen.reshape(-1, *[1] * (ours.ndim - 1)), ours, theirs)
