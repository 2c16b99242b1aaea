"""The map becomes more complex when all that the model has learned is drawn anew."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import (
    draws,
    layer_names,
    plainly,
    redrawn,
    said_of_kept,
)
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_BINS = 100
_DRAWS = 4
# Of two images' maps, either is as often the more complex one.
_NULL = 0.5


@check(
    family="randomisation",
    question="Is the map simpler than that of a model that has learned nothing?",
    claim="With all weights drawn anew, the entropy of the map rises more often than not.",
    source="hedstrom2023",
    scope="claimed",
    direction=">=",
    judged="mean",
    limit_source="1/2: how often the entropy rises from the map of one image to that of another "
    "(the null).",
    cost=Cost(explainer_calls=1 + _DRAWS),
)
def efficient_mprt(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the share of four draws of all weights that raise its map's entropy.

    H is the entropy of a histogram of the map's values, 100 bins over their range; the map's scale
    does not count. One that stays the same has not risen, that of a constant map, 0, included. The
    authors' own figure, (H(after) - H(before)) / H(before), is among the facts: it has no upper
    bound, and without one there is no test of its mean.
    """
    names, kept = layer_names(bench), dict[str, None]()
    before, after = [], []
    for images, maps in draws(bench, explainer):
        before.append(maps)
        redone = []
        for draw in range(_DRAWS):
            *_, last = redrawn(images, names, "bottom_up", kept=kept, draw=draw)
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
            "entropy": ordered[:, 0],
            "all drawn anew": disordered.mean(1),
            "relative rise": (disordered / ordered - 1).mean(1),
        },
        tensors={"input": bench.inputs, "map": original, "map, all drawn anew": random[:, -1]},
        cause="The map is no simpler for a trained model than for one that has learned nothing.",
        notes=said_of_kept(kept),
    )


def entropy(maps: Tensor) -> Tensor:
    """Entropy in nats of a histogram of 100 bins over each map's own range, (N,); 0 if constant."""
    rows = maps.detach().double().flatten(1)
    low, high = rows.aminmax(dim=1, keepdim=True)
    places = ((rows - low) / (high - low) * _BINS).nan_to_num().long().clamp(max=_BINS - 1)
    counts = torch.zeros(len(rows), _BINS, dtype=rows.dtype, device=rows.device)
    counts.scatter_add_(1, places, torch.ones_like(rows))
    entropies: Tensor = torch.special.entr(counts / rows.shape[1]).sum(1)
    return entropies
