"""Closed forms of many methods at once, by kind of network."""

from collections.abc import Callable

from torch import Tensor

from pytest_xai.subjects.probes.chains import Chain
from pytest_xai.subjects.probes.games import ablation, shapley
from pytest_xai.subjects.probes.points import any_draw

__all__ = ["additive", "of_chain", "of_gradient", "of_one_hidden", "players"]

Score = Callable[[Tensor], Tensor]


def of_gradient(gradient: Tensor, inputs: Tensor) -> dict[str, Tensor]:
    """Return the truths of methods that depend on the gradient alone.

    Args:
        gradient: gradient of the explained output, (N, *shape).
        inputs: (N, *shape).
    """
    return {
        "gradient": gradient,
        "absolute_gradient": gradient.abs(),
        "input_x_gradient": inputs * gradient,
    }


def additive(parts: Tensor) -> dict[str, Tensor]:
    """Return the truths for a sum of g_i(x_i), which are g_i(x_i) - g_i(x'_i).

    Methods with coalitions, paths and single replacements agree.

    Args:
        parts: these differences, (N, *shape).
    """
    return {
        "integrated_gradients": parts,
        "occlusion": parts,
        "feature_ablation": parts,
        "shapley": parts,
        **any_draw("shapley", "kernel_shap", truth=parts),
    }


def players(score: Score, inputs: Tensor, baseline: Tensor) -> dict[str, Tensor]:
    """Return truths for any function of few features, (N, features).

    Kernel SHAP uses all coalitions of few features, so that it does not depend on its draws.

    Args:
        score: maps (n, features) to the explained output (n,).
        inputs: (N, features).
        baseline: (N, features).
    """
    values, drops = shapley(score, inputs, baseline), ablation(score, inputs, baseline)
    return {
        "occlusion": drops,
        "feature_ablation": drops,
        "shapley": values,
        **any_draw("kernel_shap", truth=values),
    }


def of_chain(chain: Chain) -> dict[str, Tensor]:
    """Return truths for a chain of any depth: back-propagation rules, and LRP-0 (Ancona 2018)."""
    gradient = chain.gradient()
    found = {
        **of_gradient(gradient, chain.inputs),
        "lrp_zero": chain.inputs * gradient,
        "guided_backprop": chain.guided(),
        "deconvolution": chain.deconvolution(),
        "deep_lift_rescale": chain.rescale(),
    }
    homogeneous = not any(bool(bias.any()) for bias in chain.biases) and not bool(
        chain.baseline.any()
    )
    if homogeneous:
        # Homogeneous of degree 1, so that the gradient is constant on the path from 0.
        found["integrated_gradients"] = found["input_x_gradient"]
    return found


def of_one_hidden(chain: Chain) -> dict[str, Tensor]:
    """Return truths for a chain of two layers and few features.

    A unit is active on the share (relu z - relu z') / (z - z') of the straight path. This is also
    its multiplier, so that Integrated Gradients and Rescale agree for any baseline.
    """

    def score(inputs: Tensor) -> Tensor:
        count = len(inputs) // len(chain.targets)
        targets = chain.targets.repeat(count)
        return chain.sums(inputs)[-1].gather(1, targets[:, None]).squeeze(1)

    rescale = chain.rescale()
    return {
        **of_chain(chain),
        "integrated_gradients": rescale,
        "deep_lift_rescale": rescale,
        "deep_lift_reveal_cancel": chain.reveal_cancel(),
        **(players(score, chain.inputs, chain.baseline) if chain.inputs.shape[1] <= 6 else {}),
    }
