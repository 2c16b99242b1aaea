"""ZOO: coordinate descent by Adam, with slopes that are estimated by finite differences."""

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim
from pytest_xai.bench.bench import Bench

__all__ = ["zoo"]

# Half the width of a symmetric difference, as a share of the range of the inputs. The width in the
# paper is too small for the rounding of float32.
_WIDTH = 1e-3
_RATE = 0.05
_DECAYS = (0.9, 0.999)
_CONSTANT = 1.0
# Ratio of successive constants, until one is large enough.
_FACTOR = 10.0
_TINY = 1e-8


def zoo(bench: Bench, *, steps: int = 100, coordinates: int = 16, searches: int = 3) -> Attacked:
    """Attack by zeroth-order optimisation of norm and margin (Chen et al. 2017, section 3).

    Each step draws some coordinates, estimates their slopes by symmetric differences of the margin
    and moves them by Adam (algorithms 1 and 2). The constant of an image is decreased after a
    success and increased after a failure. The attack needs no gradient of the model.

    Args:
        bench: provides the model and the images; its targets are the labels.
        steps: number of steps for each constant.
        coordinates: coordinates per step, with two evaluations each; at most all of them.
        searches: number of constants.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range.
    """
    require_count(steps, "steps")
    require_count(coordinates, "coordinates")
    require_count(searches, "searches")

    def attack(victim: Victim) -> Tensor:
        best = _Best(victim)
        constants = torch.full_like(best.norms, _CONSTANT)
        enough, too_little = torch.full_like(constants, torch.inf), torch.zeros_like(constants)
        for _ in range(searches):
            fooled = _descended(victim, best, constants, steps, coordinates)
            enough = torch.where(fooled, constants, enough)
            too_little = torch.where(fooled, too_little, constants)
            between = (enough + too_little) / 2
            constants = torch.where(enough < torch.inf, between, constants * _FACTOR)
        return best.inputs

    name = ("zoo", steps, coordinates, searches)
    return run_attack(bench, name, attack, norm=2.0)


class _Best:
    """The nearest inputs so far that fool the network; the originals where there are none."""

    def __init__(self, victim: Victim) -> None:
        self.victim = victim
        self.inputs = victim.inputs.clone()
        self.norms = torch.full((len(self.inputs),), torch.inf, device=self.inputs.device)

    def offer(self, inputs: Tensor) -> Tensor:
        """Keep the inputs that are nearer; return which fool the network, BoolTensor (n,)."""
        fooled = self.victim.fooled(inputs)
        norms = (inputs - self.victim.inputs).flatten(1).norm(dim=1).to(self.norms)
        nearer = fooled & (norms < self.norms)
        self.norms = torch.where(nearer, norms, self.norms)
        self.inputs[nearer] = inputs[nearer]
        return fooled


def _descended(
    victim: Victim, best: _Best, constants: Tensor, steps: int, coordinates: int
) -> Tensor:
    """Run Adam from the original inputs; return which ever fooled the network, BoolTensor (n,)."""
    low, high = victim.bounds
    start = victim.inputs.flatten(1)
    rows = start.clone()
    adam = _Adam(rows)
    ever = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for _ in range(steps):
        drawn = [torch.randperm(rows.shape[1], generator=each) for each in victim.generators]
        places = torch.stack([each[:coordinates] for each in drawn]).to(rows.device)
        slopes = constants[:, None].to(rows) * estimated_slopes(victim, rows, places)
        # All quantities are in units of the range.
        slopes += 2 * (rows - start).gather(1, places) / victim.range
        moves = adam.moves(places, slopes) * victim.range
        rows = rows.scatter_add(1, places, -moves).clamp(low, high)
        ever |= best.offer(rows.reshape(victim.inputs.shape))
    return ever


def estimated_slopes(victim: Victim, rows: Tensor, places: Tensor) -> Tensor:
    """Estimate the slopes of max(margin, 0) by symmetric differences, (n, k), per range.

    Args:
        victim: provides the network.
        rows: (n, d) points.
        places: k coordinates of each point, LongTensor (n, k).
    """
    low, high = victim.bounds
    values, width = rows.gather(1, places), _WIDTH * victim.range
    up, down = (values + width).clamp(max=high), (values - width).clamp(min=low)
    points = rows[:, None, None].expand(-1, 2, places.shape[1], -1)
    at = places[:, None, :, None].expand(-1, 2, -1, -1)
    points = points.scatter(3, at, torch.stack([up, down], 1).unsqueeze(3))
    labels = victim.labels.repeat_interleave(2 * places.shape[1])
    margins = victim.margins(points.reshape(-1, *victim.inputs.shape[1:]), labels)
    first, second = margins.clamp(min=0).reshape(len(rows), 2, -1).unbind(1)
    return (first - second) / ((up - down) / victim.range)


class _Adam:
    """Adam with separate moments and step counts for every coordinate."""

    def __init__(self, rows: Tensor) -> None:
        self.first, self.second, self.steps = (torch.zeros_like(rows) for _ in range(3))

    def moves(self, places: Tensor, slopes: Tensor) -> Tensor:
        """Return the distances by which the coordinates decrease, (n, k)."""
        a, b = _DECAYS
        steps = self.steps.gather(1, places) + 1
        first = a * self.first.gather(1, places) + (1 - a) * slopes
        second = b * self.second.gather(1, places) + (1 - b) * slopes**2
        self.steps.scatter_(1, places, steps)
        self.first.scatter_(1, places, first)
        self.second.scatter_(1, places, second)
        return _RATE * (first / (1 - a**steps)) / ((second / (1 - b**steps)).sqrt() + _TINY)
