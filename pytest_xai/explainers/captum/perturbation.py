"""Explainers of captum that replace one feature at a time: ablation and permutation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.explainers.adapting.arguments import flag, whole
from pytest_xai.explainers.adapting.entry import Claim, Entry, claims
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass
from pytest_xai.explainers.captum.features import features_of, reference_set, references_like

__all__ = ["ENTRIES", "feature_ablation", "feature_permutation"]


def feature_ablation(
    *, blocks: int | None = None, per_channel: bool = False
) -> Callable[..., Tensor]:
    """The drop of the output when a feature is set to the baseline (Zeiler 2014, sec. 4.2).

    Features are the blocks of a grid over all channels. In the map (N, 1, *spatial) each position
    has the whole drop of its block. Inputs (N, features) give a map (N, features).

    Args:
        blocks: blocks along each side; None means 32 for signals, 8 for images, 4 for volumes.
        per_channel: True replaces one channel of a block at a time; the map then has the inputs'
            shape.

    Raises:
        InvalidArgument: ``blocks`` is not a positive integer, or ``per_channel`` not a boolean.
    """
    blocks = None if blocks is None else whole("blocks", blocks)
    per_channel = flag("per_channel", per_channel)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        maps: Tensor = captum.FeatureAblation(model).attribute(
            fresh(inputs),
            baselines=baseline.detach(),
            target=targets,
            feature_mask=features_of(inputs, blocks, per_channel=per_channel),
            perturbations_per_eval=max(1, images_per_pass(inputs) // len(inputs)),
        )
        return maps if inputs.ndim == 2 or per_channel else maps[:, :1].clone()

    return explain


def feature_permutation(
    *, references: Tensor | None = None, blocks: int | None = None
) -> Callable[..., Tensor]:
    """The mean drop of the output when a feature is taken from other inputs (Fisher 2019, sec. 3).

    captum permutes a feature among the images of a batch, so a map depends on the other images, and
    a single image has no map. Here the feature is taken from each input of a fixed set in turn, and
    the drops are averaged. The map is therefore deterministic and independent of the batch. With
    the baseline as the only reference it equals FeatureAblation. Features are the blocks of a grid
    over all channels. In the map (N, 1, *spatial) each position has the whole drop of its block.
    Inputs (N, features) give a map (N, features).

    Args:
        references: inputs (R, *shape), such as training data, or None for the baseline alone.
        blocks: blocks along each side; None means 32 for signals, 8 for images, 4 for volumes.

    Raises:
        InvalidArgument: ``references`` is not such a tensor, or ``blocks`` not a positive integer.
            When called: the references have another shape than the inputs.
    """
    references = reference_set("references", references)
    blocks = None if blocks is None else whole("blocks", blocks)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        own = baseline.detach().expand_as(inputs)
        shared = None if references is None else references_like(references, inputs)
        features = features_of(inputs, blocks)
        largest = images_per_pass(inputs)

        def one(index: int) -> Tensor:
            image, target = inputs[index : index + 1], targets[index : index + 1]
            donors = own[index : index + 1] if shared is None else shared
            # captum skips a batch of one image and reports this only in a log.
            donors = donors.repeat(2, *(1,) * (donors.ndim - 1)) if len(donors) == 1 else donors
            total = torch.zeros_like(image)
            for part in donors.tensor_split(-(-len(donors) // max(3, largest))):
                drops: Tensor = captum.FeaturePermutation(
                    model, perm_func=lambda batch, mask, part=part: part.where(mask, batch)
                ).attribute(
                    image.detach().repeat(len(part), *(1,) * (image.ndim - 1)),
                    target=target.expand(len(part)),
                    feature_mask=features,
                    perturbations_per_eval=max(1, largest // len(part)),
                )
                total += drops.sum(0, keepdim=True)
            return total / len(donors)

        maps = torch.cat([one(index) for index in range(len(inputs))])
        return maps if inputs.ndim == 2 else maps[:, :1].clone()

    return explain


ENTRIES = {
    "captum:FeatureAblation": Entry(
        factory=feature_ablation,
        method="feature_ablation",
        source="zeiler2014",
        cost="1 forward + 1 for each block",
        claims=(
            *claims("zeiler2014", "implementation_invariance", "linearity", "sensitivity_a"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity", "sign_convention"),
            # With blocks over all channels, an ignored channel gets the drop of the others.
            Claim(check="dummy_feature", source="ancona2018", when={"per_channel": True}),
        ),
        sign="evidence",
        needs_baseline=True,
    ),
    "captum:FeaturePermutation": Entry(
        factory=feature_permutation,
        method="feature_permutation",
        source="fisher2019",
        cost="1 forward + 1 for each block and each reference (at least two)",
        claims=claims("zeiler2014", "implementation_invariance", "linearity"),
        needs_baseline=True,
    ),
}
