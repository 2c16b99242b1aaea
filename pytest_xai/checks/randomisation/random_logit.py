"""The map of an image changes when another, random class is explained."""

from dataclasses import replace

import torch
from torch import Tensor

from pytest_xai.bench.bench import Bench
from pytest_xai.checks.randomisation._engine import GRADIENT, compared
from pytest_xai.checks.randomisation._similarities import FIGURE, SIGNED, Form
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the class that is explained?",
    claim="The map of a random other class is less like the map of the target than halfway to "
    "the map of another image.",
    source="sixt2020",
    scope="quality",
    judged="mean",
    limit_source="Halfway between identity (1) and the rank correlation of two unrelated maps, "
    "those of different images (the null).",
    cost=Cost(explainer_calls=2),
)
def random_logit(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: rank correlation of its map and the map of a random other class.

    Spearman's. A map that is turned over as a whole counts as the same, as in Sixt 2020: it
    points to the same places. Of two classes, each may be the other with the sign turned; there it
    counts as another map, unless it has one sign only: then nobody can tell whether the class
    decides its places, or the sign of the output alone.
    """
    if explainer.traits.class_agnostic:
        raise NotApplicable("the explainer is declared class-agnostic")
    if bench.classes == 1:
        raise NotApplicable("the model has a single output")
    targets = _others(bench)
    original, others = bench.maps(explainer), bench.explain(explainer, bench.inputs, targets)
    form, other = Form(original), Form(others)
    similar = _alike(other, form, bench.classes)

    def gradients() -> Tensor:
        own, of_others = bench.maps(GRADIENT), bench.explain(GRADIENT, bench.inputs, targets)
        return _alike(Form(of_others), Form(own), bench.classes)[FIGURE]

    tensors = {"map": original, "map of another class": others}
    found = compared(bench, form, similar, tensors=tensors, of_gradients=gradients)
    return replace(
        found,
        value_range=(-1.0, 1.0) if bench.classes == 2 else (0.0, 1.0),
        left_out={"constant maps, or of one sign and turned over": int(found.values.isnan().sum())},
        cause="The map shows what is in the image, whatever class is asked for.",
    )


def _alike(other: Form, original: Form, classes: int) -> dict[str, Tensor]:
    """Similarities to the original maps; of two classes the figure has a sign."""
    similar = other.like(original)
    turned = (similar[SIGNED] < 0) & (classes == 2)
    signed = similar[SIGNED].masked_fill(original.one_sign & other.one_sign, torch.nan)
    return similar | {FIGURE: torch.where(turned, signed, similar[FIGURE])}


def _others(bench: Bench) -> Tensor:
    """A class other than the target for each image, all of them equally likely."""
    source = bench.generator("other class")
    steps = torch.randint(1, bench.classes, (len(bench),), generator=source)
    return (bench.targets + steps.to(bench.targets.device)) % bench.classes
