"""Checks that the map becomes more complex when all weights are re-initialised."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import (
    draws,
    layer_names,
    notes_on_kept,
    plainly,
    reinitialised,
)
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_BINS = 100
_DRAWS = 4
# Of the maps of two images, each is equally often the more complex one.
_NULL = 0.5


@check(
    family="randomisation",
    question="Is the map simpler than that of a model with random weights?",
    claim="With all weights re-initialised, the entropy of the map rises more often than not.",
    source="hedstrom2023",
    scope="claimed",
    direction=">=",
    judged="mean",
    figure="share of re-initialisations that raise the entropy of the map",
    limit_source="1/2: how often the map of one image has a larger entropy than that of another.",
    cost=Cost(explainer_calls=1 + _DRAWS),
)
def efficient_mprt(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the share of four re-initialisations that raise the entropy of its map.

    H is the entropy of a histogram of the map's values, with 100 bins over their range, so that
    the scale of the map does not matter. An entropy that stays the same has not risen; that of a
    constant map is 0. The authors' own figure, (H(after) - H(before)) / H(before), is among the
    facts: it has no upper bound, and without one its mean cannot be tested.
    """
    names, kept = layer_names(bench), dict[str, None]()
    before, after = [], []
    for images, maps in draws(bench, explainer):
        before.append(maps)
        redone = []
        for draw in range(_DRAWS):
            *_, last = reinitialised(images, names, "bottom_up", kept=kept, draw=draw)
            redone.append(plainly(images, explainer, last))
        after.append(torch.stack(redone, 1))
    original, random = torch.cat(before), torch.cat(after)
    ordered = entropy(original)[:, None]
    disordered = entropy(random.flatten(0, 1)).reshape(-1, _DRAWS)
    rises = (disordered > ordered).double().mean(1)
    return Finding(
        values=rises,
        limits=_NULL,
        facts={
            "entropy of the map": ordered[:, 0],
            "entropy of the map after re-initialising all layers": disordered.mean(1),
            "relative rise of the entropy": (disordered / ordered - 1).mean(1),
        },
        tensors={
            "input": bench.inputs,
            "map": original,
            "map after re-initialising all layers": random[:, -1],
        },
        cause="The map is no simpler for the trained model than for one with random weights.",
        notes=notes_on_kept(kept),
    )


def entropy(maps: Tensor) -> Tensor:
    """Return the entropy, in nats, of histograms with 100 bins, (N,); 0 for a constant map."""
    rows = maps.detach().double().flatten(1)
    low, high = rows.aminmax(dim=1, keepdim=True)
    places = ((rows - low) / (high - low) * _BINS).nan_to_num().long().clamp(max=_BINS - 1)
    counts = torch.zeros(len(rows), _BINS, dtype=rows.dtype, device=rows.device)
    counts.scatter_add_(1, places, torch.ones_like(rows))
    entropies: Tensor = torch.special.entr(counts / rows.shape[1]).sum(1)
    return entropies
