"""The map changes when what the model has learned is drawn anew, from the output down."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pytest_xai.anatomy import layers
from pytest_xai.bench import Bench
from pytest_xai.containment import Guard
from pytest_xai.errors import NotApplicable
from pytest_xai.guests import called
from pytest_xai.measures import pearson, spatial, spearman, ssim
from pytest_xai.measures.similarity import ranks
from pytest_xai.nulls import halfway, unrelated
from pytest_xai.perturbations.parameters import randomise_layer
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check
from pytest_xai.verdict import Finding


@check(
    family="randomisation",
    question="Does the map depend on the weights of the model?",
    claim="With layer after layer drawn anew from the output down, maps are less like the "
    "original than halfway to the map of another image.",
    source="adebayo2018",
    scope="quality",
    judged="mean",
    limit_source="Halfway between identity (1) and the rank correlation of two unrelated maps, "
    "those of different images (the null).",
    cost=Cost(explainer_calls=1, per_layer=True),
)
def mprt_cascading(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: rank correlation of its maps before and after the weights are drawn anew.

    Spearman's, with the sign, for the same target, the mean over the steps of the cascade.

    A layer is a module that owns parameters or buffers; each is drawn with its own seed, and each
    round of images with its own draw. Stochastic explainers have the same seed before and after.
    """
    original = bench.maps(explainer)
    null = unrelated(original, bench.targets, rank_correlation)
    ranked = ranks(spatial(original))
    correlations, structure = [], []
    for maps in _cascade(bench, explainer):
        # Spearman's is Pearson's of the ranks: those of the original are taken once.
        correlations.append(pearson(ranks(spatial(maps)), ranked))
        if original.ndim >= 3:  # tables have no structure in space
            structure.append(ssim(maps, original))
    values = torch.stack(correlations).nanmean(0)
    facts = {
        "unrelated maps": null,
        "head drawn anew": correlations[0],
        "all drawn anew": correlations[-1],
    }
    if structure:
        facts["SSIM"] = torch.stack(structure).nanmean(0)
        facts["SSIM of unrelated maps"] = unrelated(original, bench.targets, ssim)
    return Finding(
        values=values,
        # Maps of two classes that mirror each other are opposites, which is not unrelated.
        limits=halfway(1.0, null.clamp_min(0)),
        value_range=(-1.0, 1.0),
        facts=facts,
        tensors={"input": bench.inputs, "map": original, "map, all drawn anew": maps},
        left_out={"constant maps": int((values + null).isnan().sum())},
        cause="The map shows the input, not the model: it would look the same for a model that "
        "has learned nothing.",
    )


def rank_correlation(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Spearman's, with the sign, pixel by pixel: what the channels of a pixel got is added."""
    return spearman(spatial(map_a), spatial(map_b))


def _cascade(bench: Bench, explainer: NamedExplainer) -> Iterator[Tensor]:
    """The maps after each step, (n, ...) each, from the output down."""
    model = bench.copied_model()
    names = called("the model", lambda: layers(model, bench.inputs[:1]))
    if not names:
        raise NotApplicable("the model has no parameters")
    guard = Guard(model)
    for name in reversed(names):
        seed = bench.derive_seed("mprt", name, bench.images[0])
        # Not the model's own method: a wrapper's looks inside, where names are shorter.
        layer = torch.nn.Module.get_submodule(model, name)
        randomise_layer(layer, seed=seed)
        guard.refresh(layer)
        yield bench.explain(explainer, bench.inputs, on=guard)
