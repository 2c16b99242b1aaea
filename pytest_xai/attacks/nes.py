"""NES: sign steps along a gradient that is estimated from scores in random directions."""

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count, require_share
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim
from pytest_xai.bench.bench import Bench

__all__ = ["nes"]

# Width of the search distribution, as a share of the range of the inputs; as in the paper.
_WIDTH = 1e-3


def nes(bench: Bench, *, epsilon: float, steps: int = 20, samples: int = 100) -> Attacked:
    """Attack by natural evolution strategies in the maximum norm (Ilyas et al. 2018, section 3.1).

    Each step follows the sign of an estimated gradient of the margin, which is also a difference of
    log probabilities. Its size is 2.5 / ``steps`` of the ball's radius. The attack needs no
    gradient of the model. An image stops when its prediction changes.

    Args:
        bench: provides the model and the images; its targets are the labels.
        epsilon: radius of the ball in the maximum norm, as a share of the range of the inputs.
        steps: maximum number of steps.
        samples: evaluations per step, an even number; half of them are at mirrored points.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range.
    """
    require_share(epsilon, "epsilon")
    require_count(steps, "steps")
    require_count(samples, "samples", least=2)
    low, high = bench.bounds
    budget = epsilon * (high - low)
    pairs = samples // 2

    def attack(victim: Victim) -> Tensor:
        return _nes(victim, budget, steps, pairs)

    name = ("nes", epsilon, steps, pairs)
    return run_attack(bench, name, attack, norm=float("inf"), budget=budget)


def _nes(victim: Victim, budget: float, steps: int, pairs: int) -> Tensor:
    low, high = victim.bounds
    found = victim.inputs.clone()
    for _ in range(steps):
        going = (~victim.fooled(found)).nonzero().flatten()
        if not len(going):
            break
        slope = estimated_slopes(victim, found, going, pairs)
        moved = found[going] - 2.5 / steps * budget * slope.sign()
        start = victim.inputs[going]
        found[going] = (start + (moved - start).clamp(-budget, budget)).clamp(low, high)
    return found


def estimated_slopes(victim: Victim, points: Tensor, rows: Tensor, pairs: int) -> Tensor:
    """Estimate the gradients of the margins from mirrored normal draws, (m, *shape).

    Args:
        victim: provides the network and the generators.
        points: (n, *shape).
        rows: indices of the m images whose gradients are estimated.
        pairs: pairs of evaluations per image.
    """
    width = _WIDTH * victim.range
    shape = (pairs, *points.shape[1:])
    drawn = torch.stack(
        [
            torch.randn(shape, generator=victim.generators[row], dtype=torch.float64)
            for row in rows.tolist()
        ]
    ).to(points)
    centres = points[rows].unsqueeze(1)
    both = torch.cat([centres + width * drawn, centres - width * drawn], 1)
    labels = victim.labels[rows].repeat_interleave(2 * pairs)
    margins = victim.margins(both.flatten(0, 1), labels).reshape(len(rows), 2, pairs)
    difference = (margins[:, 0] - margins[:, 1]) / (2 * width)
    return (difference.reshape(len(rows), pairs, *[1] * (points.ndim - 1)) * drawn).mean(1)
