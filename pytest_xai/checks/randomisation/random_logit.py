"""Checks that the map changes when a random other class is explained."""

from dataclasses import replace

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import GRADIENT, compared
from pytest_xai.checks.randomisation._similarities import FIGURE, SIGNED, PreparedMaps
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the class that is explained?",
    claim="Changing the explained class changes the map by more than half as much as changing the "
    "image does.",
    source="sixt2020",
    scope="quality",
    judged="mean",
    figure="rank correlation with the map of another class",
    limit_source="Halfway between 1 (identical maps) and the absolute rank correlation with the "
    "map of another image.",
    cost=Cost(explainer_calls=2),
)
def random_logit(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: rank correlation of its map and the map of a random other class.

    It is Spearman's. A sign-flipped map counts as the same map, as in Sixt 2020: it points to the
    same places. With two classes, the map of one may be the sign-flipped map of the other. There
    it counts as a different map, unless both maps have one sign only: such an image cannot be
    judged, because the class may decide the sign of the output alone.
    """
    if explainer.traits.class_agnostic:
        raise NotApplicable("the explainer is declared class-agnostic")
    if bench.classes == 1:
        raise NotApplicable("the model has a single output")
    targets = _others(bench)
    original, others = bench.maps(explainer), bench.explain(explainer, bench.inputs, targets)
    prepared, other = PreparedMaps(original), PreparedMaps(others)
    similar = _similar(other, prepared, bench.classes)

    def gradients() -> Tensor:
        own, of_others = bench.maps(GRADIENT), bench.explain(GRADIENT, bench.inputs, targets)
        return _similar(PreparedMaps(of_others), PreparedMaps(own), bench.classes)[FIGURE]

    tensors = {"map": original, "map of another class": others}
    found = compared(bench, prepared, similar, tensors=tensors, of_gradients=gradients)
    return replace(
        found,
        value_range=(-1.0, 1.0) if bench.classes == 2 else (0.0, 1.0),
        left_out={
            "constant maps, or sign-flipped maps of one sign": int(found.values.isnan().sum())
        },
        cause="The map shows what is in the image, whichever class is explained.",
    )


def _similar(other: PreparedMaps, original: PreparedMaps, classes: int) -> dict[str, Tensor]:
    """Return similarities to the original maps; with two classes the figure has a sign."""
    similar = other.like(original)
    flipped = (similar[SIGNED] < 0) & (classes == 2)
    signed = similar[SIGNED].masked_fill(original.one_sign & other.one_sign, torch.nan)
    return similar | {FIGURE: torch.where(flipped, signed, similar[FIGURE])}


def _others(bench: Bench) -> Tensor:
    """Return a class other than the target for each image, all of them equally likely."""
    source = bench.generator("other class")
    steps = torch.randint(1, bench.classes, (len(bench),), generator=source)
    return (bench.targets + steps.to(bench.targets.device)) % bench.classes
