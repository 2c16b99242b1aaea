"""Nearly equal inputs have nearly equal maps."""

import math

import torch

from pytest_xai.bench import Bench
from pytest_xai.measures import l1_distance
from pytest_xai.nulls import halfway, partners
from pytest_xai.perturbations.noise import random_direction
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check
from pytest_xai.verdict import Finding

_STEPS = 4
# Root mean square of the whole path as a share of the range of the inputs: about what rounding an
# image to 8 bits changes.
_LENGTH = 1 / 255


@check(
    family="robustness",
    question="Does the map change little when the input changes very little?",
    claim="For most images no step of a path as short as 8-bit rounding takes the map halfway to "
    "another image's.",
    source="montavon2018",
    scope="quality",
    judged="paired",
    limit_source="Halfway between no change and the change to the map of another image within a "
    "step of the same size (the null).",
    cost=Cost(explainer_calls=_STEPS + 1),
)
def continuity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest change of the map over one step of a short straight path.

    Changes are the share of a map's mass that lies elsewhere, from 0 to 1, as that to the
    map of another image, the null; Montavon's own figure, the largest |R(x) - R(x')|_1 /
    |x - x'|_2, and the same for the null, are among the facts.
    """
    low, high = bench.bounds
    length = _LENGTH * (high - low) * math.sqrt(bench.subject.inputs[0].numel())
    path = random_direction(
        bench.inputs, norm=length, bounds=(low, high), generator=bench.generator("continuity")
    )
    maps = bench.maps(explainer)
    others = maps[partners(bench.targets)]
    null = l1_distance(maps, others)
    largest = torch.zeros(len(bench), dtype=torch.float64, device=maps.device)
    ratio = torch.zeros_like(largest)
    last = maps
    for step in range(1, _STEPS + 1):
        here = bench.explain(explainer, bench.inputs + step / _STEPS * path)
        change = l1_distance(here, last)
        # The larger of the two, and not-a-number where either is.
        largest = torch.maximum(largest, change)
        ratio = torch.maximum(ratio, _mass(here - last) * _STEPS / length)
        last = here
    return Finding(
        values=largest,
        limits=halfway(0.0, null),
        facts={
            "largest change": largest,
            "change to another image's map": null,
            "largest |dR|_1/|dx|_2": ratio,
            "same to another image's map": _mass(maps - others) * _STEPS / length,
        },
        tensors={"input": bench.inputs, "map": maps, "map at the end of the path": last},
        left_out={"zero maps": int((largest + null).isnan().sum())},
        cause="The map jumps: a hard threshold or rounding inside, noise that is drawn anew, or a "
        "gradient of a network whose units switch within rounding of the input.",
    )


def _mass(maps: torch.Tensor) -> torch.Tensor:
    return maps.double().abs().flatten(1).sum(1)
