"""Checks that nearly equal inputs have nearly equal maps."""

import math

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.robustness._neighbours import largest
from pytest_xai.core.finding import Finding
from pytest_xai.measures import l1_distance
from pytest_xai.measures.arguments import as_float64
from pytest_xai.measures.reference_maps import halfway, other_images
from pytest_xai.perturbations.noise import random_direction
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_STEPS = 4
# Root mean square of the whole path as a share of the range of the inputs: about what rounding an
# image to 8 bits changes.
_LENGTH = 1 / 255


@check(
    family="robustness",
    question="Does the map change little when the input changes very little?",
    claim="For most images, no step of a path as short as 8-bit rounding changes the map by half "
    "of the difference to another image's map.",
    source="montavon2018",
    scope="quality",
    judged="paired",
    figure="largest share of the mass of the map that moves in one step",
    limit_source="Half of the change to the map of another image; at least the rounding error.",
    cost=Cost(forward=_STEPS + 1, explainer_calls=_STEPS + 1),
)
def continuity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest change of the map over one step of a short straight path.

    A change is the share of the map's mass that moves, from 0 to 1. The figure of Montavon et al.,
    the largest |R(x) - R(x')|_1 / |x - x'|_2, and the same for the map of another image, are among
    the facts. A step counts if the prediction at both of its ends is that of the image.
    """
    path, step_length = _path(bench)
    maps = bench.maps(explainer)
    others = maps[other_images(bench.targets)]
    null = l1_distance(maps, others)
    changes, ratios, held = [], [], [torch.ones_like(bench.targets, dtype=torch.bool)]
    last = maps
    for step in range(1, _STEPS + 1):
        there = bench.inputs + step / _STEPS * path
        here = bench.explain(explainer, there)
        changes.append(l1_distance(here, last))
        ratios.append(_mass(here - last) / step_length)
        held.append(bench.predictions(there) == bench.predictions())
        last = here
    kept = torch.stack(held, 1).to(null.device)
    counts = kept[:, 1:] & kept[:, :-1]
    change = largest(torch.stack(changes, 1), counts)
    return Finding(
        values=change,
        limits=halfway(0.0, null).clamp(min=bench.rounding),
        facts={
            "largest change": change,
            "change to another image's map": null,
            "largest |dR|_1 / |dx|_2": largest(torch.stack(ratios, 1), counts),
            "|dR|_1 / |dx|_2 to another image's map": _mass(maps - others) / step_length,
            "steps that kept the prediction": counts.sum(1).double(),
        },
        tensors={"input": bench.inputs, "map": maps, "map at the end of the path": last},
        left_out={
            "no step kept the prediction": int((~counts.any(1)).sum()),
            "zero maps": int(((change + null).isnan() & counts.any(1)).sum()),
        },
        cause="The map jumps: the explainer uses a hard threshold or rounding, draws new noise in "
        "every call, or is a gradient of a network whose units switch within the path.",
    )


def _path(bench: Bench) -> tuple[torch.Tensor, float]:
    """Return the whole path of each image, (n, *shape), and the length of one of its steps."""
    low, high = bench.bounds
    length = _LENGTH * (high - low) * math.sqrt(bench.subject.inputs[0].numel())
    path = random_direction(
        bench.inputs, norm=length, bounds=(low, high), generator=bench.generator("continuity")
    )
    return path, length / _STEPS


def _mass(maps: torch.Tensor) -> torch.Tensor:
    return as_float64(maps).abs().flatten(1).sum(1)
