"""TimeREISE: RISE for time series, with masks of several densities and granularities."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import choice, number, whole
from pytest_xai.explainers.adapting.entry import Entry
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.own.masking import covered, probabilities, random_shifts, stretched

__all__ = ["ENTRIES", "time_reise"]


def time_reise(
    *,
    masks: int = 1500,
    densities: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    granularities: Sequence[float] = (0.05, 0.1, 0.2),
    output: str = "logit",
) -> Callable[..., Tensor]:
    """For each step of a channel, the mean output for masks that show it (Mercier 2022).

    S = sum_i f(x * M_i + x' * (1 - M_i)) M_i / sum_i M_i, elementwise, is scaled to [0, 1] by
    (S - min S) / (max S - min S) over the signal; a constant S becomes 0. Every pair of a density
    and a granularity contributes the same number of random masks (channels, steps), or one more. In
    a mask each channel has ceil(1 / granularity) slices, at most one per step. Each slice is shown
    with a probability equal to the density, and the slices are interpolated linearly to the
    signal's length with a random shift. Hidden values are set to the subject's baseline x'. An
    element that no mask shows gets the mean output over all masks.

    The masks come from torch's global generator and are the same for all signals of a batch. The
    authors' code uses 1,000 masks for each of ten densities from 0.05 to 0.95 at granularity 0.05.

    Args:
        masks: number of masks over all pairs, at least one for each.
        densities: shares of a signal that are shown, above 0 and below 1.
        granularities: lengths of a slice as shares of the signal's length, above 0 and up to 1.
        output: the function f: "logit" for the output that is checked, where adding a constant to
            it does not change the map; "probability" for its softmax over the classes, as in the
            paper, or for the sigmoid of a single output.

    Returns:
        An explainer whose maps are (N, channels, steps) in [0, 1].

    Raises:
        InvalidArgument: ``densities`` or ``granularities`` are not such numbers, ``masks`` is not
            an integer of at least the number of pairs, or ``output`` is unknown.
    """
    pairs = list(
        itertools.product(
            _shares("densities", densities, below_one=True),
            _shares("granularities", granularities, below_one=False),
        )
    )
    masks = whole("masks", masks, least=len(pairs))
    output = choice("output", output, ("logit", "probability"))

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        signals, references = inputs.detach(), baseline.detach().to(inputs).expand_as(inputs)
        sums, shown = torch.zeros_like(signals), torch.zeros_like(signals[0])
        total = torch.zeros_like(signals[:, :1, :1])
        with torch.no_grad():
            for some in _chunks(inputs, masks, pairs):
                shown += some.sum(0)
                for row in range(len(signals)):
                    one = slice(row, row + 1)
                    outputs = model(covered(signals[one], references[one], some))
                    if output == "probability":
                        outputs = probabilities(outputs)
                    scores = outputs[:, targets[row]]
                    total[row] += scores.sum()
                    sums[row] += (scores @ some.flatten(1)).view_as(shown)
        return _normalised(torch.where(shown > 0, sums / shown, total / masks))

    return explain


def _shares(name: str, values: object, *, below_one: bool) -> list[float]:
    expected = f"a list of numbers above 0 and {'below' if below_one else 'up to'} 1"
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise InvalidArgument.of(name, got=repr(values), expected=expected)
    shares = [number(f"{name}[{index}]", value) for index, value in enumerate(values)]
    if any(not 0 < share <= 1 or (below_one and share == 1) for share in shares):
        raise InvalidArgument.of(name, got=repr(values), expected=expected)
    return shares


def _chunks(inputs: Tensor, masks: int, pairs: list[tuple[float, float]]) -> Iterator[Tensor]:
    """Yield the masks, pair by pair, in chunks (n, channels, steps) that fit one pass.

    The shifts of a pair are drawn before its first grid, so the masks do not depend on the chunks.
    """
    channels, steps = inputs.shape[1:]
    each, left = divmod(masks, len(pairs))
    for index, (density, granularity) in enumerate(pairs):
        slices = min(steps, math.ceil(1 / granularity))
        shifts = random_shifts(each + (index < left), (slices,), (steps,))
        for some in shifts.split(images_per_pass(inputs)):
            grids = (torch.rand(len(some), channels, slices) < density).to(inputs)
            yield stretched(grids, (steps,), some)


def _normalised(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low), 0)


ENTRIES = {
    "xai:TimeREISE": Entry(
        factory=time_reise,
        method="time_reise",
        source="mercier2022",
        cost="{masks} forward",
        inputs=frozenset({"signal"}),
        stochastic=True,
        needs_baseline=True,
    ),
}
