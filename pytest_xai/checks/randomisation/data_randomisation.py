"""Checks that the map differs from that of a network trained on random labels."""

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import call_user_code
from pytest_xai.checks.randomisation._engine import compared
from pytest_xai.checks.randomisation._similarities import PreparedMaps
from pytest_xai.core.finding import Finding
from pytest_xai.core.seeds import seeded
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on the relation between labels and images?",
    claim="Training the network on permuted labels changes the map by more than half as much as "
    "changing the image does.",
    source="adebayo2018",
    scope="quality",
    judged="mean",
    figure="absolute rank correlation of the maps of the two networks",
    limit_source="Halfway between 1 (identical maps) and the absolute rank correlation with the "
    "map of another image.",
    cost=Cost(forward=2, explainer_calls=2),
)
def data_randomisation(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: absolute rank correlation of its maps on the two networks.

    It is Spearman's, for the same target, of the maps on the model and on `Subject.permuted_model`.
    A sign-flipped map counts as the same map.
    """
    with seeded(0):  # the user's function may initialise weights before it loads them
        permuted = call_user_code("the model of permuted labels", bench.subject.permuted)
    if permuted is None:
        raise NotApplicable("needs Subject(permuted_model=...), trained on permuted labels")
    stop = bench.counter.watch(permuted)
    try:
        original = bench.maps(explainer)
        others = bench.explain(explainer, bench.inputs, on=Guard(permuted))
        with torch.no_grad():
            outputs = bench.batched(permuted, bench.inputs)
    finally:
        stop()
    prepared = PreparedMaps(original)
    same = outputs.argmax(1) == bench.logits().argmax(1)
    return compared(
        bench,
        prepared,
        PreparedMaps(others).like(prepared),
        facts={"share of equal predictions of the two networks": same.double()},
        tensors={"map": original, "map of the network trained on permuted labels": others},
    )
