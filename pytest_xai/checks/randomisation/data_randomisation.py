"""The map differs from that of a network that learned the same images with labels at random."""

import torch

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import call_user_code
from pytest_xai.checks.randomisation._engine import compared
from pytest_xai.checks.randomisation._similarities import Form
from pytest_xai.core.seeds import seeded
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="randomisation",
    question="Does the map depend on what the labels have to do with the images?",
    claim="The map of a network trained on permuted labels is less like the original than halfway "
    "to the map of another image.",
    source="adebayo2018",
    scope="quality",
    judged="mean",
    limit_source="Halfway between identity (1) and the rank correlation of two unrelated maps, "
    "those of different images (the null).",
    cost=Cost(forward=2, explainer_calls=2),
)
def data_randomisation(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: rank correlation of its maps on the model and on `Subject.permuted_model`.

    Spearman's, for the same target; a map that is turned over as a whole counts as the same.
    """
    with seeded(0):  # the user's function may draw weights before it loads them
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
    form = Form(original)
    return compared(
        bench,
        form,
        Form(others).like(form),
        facts={"same predictions": (outputs.argmax(1) == bench.logits().argmax(1)).double()},
        tensors={"map": original, "map, labels permuted": others},
    )
