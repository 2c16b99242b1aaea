"""Explainers of captum that estimate Shapley values: sampled permutations and KernelSHAP."""

from collections.abc import Callable

from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.arguments import flag, whole
from pytest_xai.explainers.adapting.draws import one_by_one
from pytest_xai.explainers.adapting.entry import Claim, Entry, claims
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass
from pytest_xai.explainers.captum.features import features_of, sizes

__all__ = ["ENTRIES", "kernel_shap", "shapley_value_sampling"]


def shapley_value_sampling(
    *, permutations: int = 4, blocks: int | None = None, per_channel: bool = False
) -> Callable[..., Tensor]:
    """The mean gain of each feature, added in random orders (Castro 2009, sec. 3).

    Features are the blocks of a grid over all channels, added to the baseline. The value of a block
    is divided equally among its positions, so that the map (N, 1, *spatial) sums to
    f(x) - f(x') for any number of orders. The orders come from torch's global generator and are the
    same for all images of a batch. captum computes sums in float32 for every dtype of the inputs.

    Args:
        permutations: number of random orders.
        blocks: blocks along each side; None means 32 for signals, 8 for images, 4 for volumes.
        per_channel: a feature is a single channel of a block; the map then has the inputs' shape.

    Raises:
        InvalidArgument: ``permutations`` or ``blocks`` is not a positive integer, or
            ``per_channel`` is not a boolean.
    """
    permutations = whole("permutations", permutations)
    blocks = None if blocks is None else whole("blocks", blocks)
    per_channel = flag("per_channel", per_channel)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        features = features_of(inputs, blocks, per_channel=per_channel)
        maps: Tensor = captum.ShapleyValueSampling(model).attribute(
            fresh(inputs).detach(),
            baselines=baseline.detach().expand_as(inputs).clone(),
            target=targets,
            feature_mask=features,
            n_samples=permutations,
            perturbations_per_eval=max(1, images_per_pass(inputs) // len(inputs)),
        )
        maps = maps if inputs.ndim == 2 or per_channel else maps[:, :1]
        return maps.to(inputs) / sizes(features)

    return explain


def kernel_shap(*, samples: int = 128, blocks: int | None = None) -> Callable[..., Tensor]:
    """Shapley values by a weighted regression on coalitions (Lundberg 2017, theorem 2).

    Features are the blocks of a grid over all channels. The value of a block is divided equally
    among its positions. The map (N, 1, *spatial) sums to f(x) - f(x') only approximately, since
    captum enforces the sum by giving the empty and the full coalition the weight of a million
    others. The coalitions come from torch's global generator. captum computes the regression in
    float32 for every dtype of the inputs. Use at least twice as many samples as there are blocks.

    Args:
        samples: number of coalitions per image, including the empty and the full one.
        blocks: blocks along each side; None means 32 for signals, 8 for images, 4 for volumes.

    Raises:
        InvalidArgument: ``samples`` is not an integer of at least 2, or ``blocks`` is not a
            positive integer.
        NotApplicable: when called: the inputs consist of a single block.
    """
    samples = whole("samples", samples, least=2)
    blocks = None if blocks is None else whole("blocks", blocks)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        require("sklearn.linear_model", extra="captum")
        features = features_of(inputs, blocks)
        if int(features.max()) == 0:
            raise NotApplicable("KernelSHAP needs at least two features, and these inputs have one")
        references = baseline.detach().expand_as(inputs)

        def one(image: slice) -> Tensor:
            values: Tensor = captum.KernelShap(model).attribute(
                fresh(inputs[image]).detach(),
                baselines=references[image],
                target=targets[image],
                feature_mask=features,
                n_samples=samples,
                perturbations_per_eval=min(samples, images_per_pass(inputs)),
            )
            return values.to(inputs)

        maps = one_by_one(len(inputs), one)
        return (maps if inputs.ndim == 2 else maps[:, :1]) / sizes(features)

    return explain


ENTRIES = {
    "captum:ShapleyValueSampling": Entry(
        factory=shapley_value_sampling,
        method="shapley",
        source="castro2009",
        cost="1 forward + {permutations} for each block",
        claims=(
            *claims("castro2009", "summation_to_delta", "implementation_invariance", "linearity"),
            *claims("lundberg2017", "sensitivity_a", "sign_convention"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
            # With blocks over all channels, an ignored channel gets the gain of the others.
            Claim(check="dummy_feature", source="castro2009", when={"per_channel": True}),
        ),
        sign="evidence",
        stochastic=True,
        needs_baseline=True,
    ),
    "captum:KernelShap": Entry(
        factory=kernel_shap,
        method="shapley",
        source="lundberg2017",
        cost="{samples} forward",
        claims=(
            *claims("lundberg2017", "summation_to_delta", "implementation_invariance", "linearity"),
            *claims("lundberg2017", "sensitivity_a", "sign_convention"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity"),
        ),
        sign="evidence",
        stochastic=True,
        needs_baseline=True,
    ),
}
