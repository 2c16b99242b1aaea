"""The map of an image changes when another, random class is explained."""

from dataclasses import replace

import torch
from torch import Tensor

from pytest_xai.bench import Bench
from pytest_xai.checks.randomisation.engine import compared
from pytest_xai.checks.randomisation.similarities import Form
from pytest_xai.errors import NotApplicable
from pytest_xai.nulls import partners
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check
from pytest_xai.verdict import Finding


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

    Spearman's, with the sign: of two classes that mirror each other, maps are opposites, and
    without it they would be equal.
    """
    if explainer.traits.class_agnostic:
        raise NotApplicable("the explainer is declared class-agnostic")
    if bench.classes == 1:
        raise NotApplicable("the model has a single output")
    original = bench.maps(explainer)
    others = bench.explain(explainer, bench.inputs, _others(bench))
    form = Form(original)
    found = compared(
        bench,
        Form(others).like(form),
        Form(original[partners(bench.targets)]).like(form),
        tensors={"map": original, "map of another class": others},
    )
    cause = "The map shows what is in the image, whatever class is asked for."
    return replace(found, cause=cause)


def _others(bench: Bench) -> Tensor:
    """A class other than the target for each image, all of them equally likely."""
    source = bench.generator("other class")
    steps = torch.randint(1, bench.classes, (len(bench),), generator=source)
    return (bench.targets + steps.to(bench.targets.device)) % bench.classes
