"""Networks whose outputs are what rounding leaves of sums that cancel."""

import torch

from pytest_xai.bench.bench import Bench

__all__ = ["outputs_cancel"]

# Inputs are moved by so many units of rounding, so often.
_ULPS, _DRAWS = 4, 4
# What this much of an output's change is due to rounding of the input has lost all its digits.
_LOST = 0.01


def outputs_cancel(bench: Bench) -> bool:
    """Whether an output changes between baseline and inputs by little more than its rounding.

    Behind a normalisation a sum with equal weights is zero whatever the input: its maps and their
    sums are rounding as well, and no axiom can be told from them. An output that does not change at
    all is another matter: its map has to be zero.

    Args:
        bench: of a small network, which float64 decides as it does verdicts.
    """
    bench = bench.double()
    # A baseline of zeros is moved as the inputs are: their layers round what they make of it, too.
    ends = torch.cat([bench.inputs, bench.baseline])
    largest = bench.inputs.abs().amax()
    step = _ULPS * torch.finfo(ends.dtype).eps * torch.where(ends == 0, largest, ends.abs())
    outputs = bench.logits(ends)
    noise = torch.zeros_like(outputs)
    for draw in range(_DRAWS):
        signs = torch.randint(2, ends.shape, generator=bench.generator("cancelling", draw))
        moved = bench.logits(ends + step * (signs.to(ends) * 2 - 1))
        noise = torch.maximum(noise, (moved - outputs).abs())
    before, after = outputs.chunk(2)
    change = (before - after).abs().amax(0)
    return bool(((change > 0) & (noise.amax(0) > _LOST * change)).any())
