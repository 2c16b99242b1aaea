"""Where f(2x) = 2 f(x), the map of 2x is R(x) for derivatives and 2 R(x) for contributions."""

import copy

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.finding import Finding
from pytest_xai.core.rounding import rounding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.perturbations.constrained_networks import unbiased
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Derivatives do not change with the scale of the inputs.
_DEGREE_0 = frozenset({"gradient", "guided_backprop", "deconvolution"})
# Contributions scale with the output that they add up to.
_DEGREE_1 = frozenset(
    {
        *("input_x_gradient", "integrated_gradients", "deep_lift_rescale", "lrp", "deep_taylor"),
        *("deep_lift_reveal_cancel", "shapley", "kernel_shap", "owen_values"),
        *("occlusion", "feature_ablation", "rise", "grad_cam", "guided_grad_cam"),
    }
)
# Multiplying by a power of two causes no rounding error.
_FACTOR = 2.0


@check(
    family="axiomatic",
    question="Does the map scale with the input where the model scales with it?",
    claim="On a copy without biases, where f(2x) = 2 f(x), and with a baseline of zeros, the map "
    "R(2x) is R(x) for derivatives and 2 R(x) for contributions.",
    source="ancona2018",
    figure="largest difference of R(2x) from R(x) or 2 R(x), relative to the largest value",
    scope="claimed",
    limit_source="The rounding error of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in). A failure in float32 is repeated in float64, where the limit is "
    "1 + |f|/|R| times as large.",
    cost=Cost(forward=3, explainer_calls=2),
    max_images=ROUND,
    arbitrated=True,
)
def positive_homogeneity(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest difference of R(2x) and 2^k R(x) over the largest value.

    The degree k follows from the declared method: 0 for derivatives and 1 for contributions. For
    another method or none, the check takes the degree that all images together are nearer to. Maps
    that are scaled to a fixed range have degree 0, whatever their method.
    """
    model = unbiased(bench.copied_model())
    _require_homogeneous(bench, model)
    network, zeros = Guard(model), torch.zeros_like(bench.inputs)
    maps = bench.explain(explainer, bench.inputs, baseline=zeros, on=network)
    twice = bench.explain(explainer, _FACTOR * bench.inputs, baseline=zeros, on=network)
    gaps = [relative_difference(twice, _FACTOR**degree * maps) for degree in (0, 1)]
    degree = _degree(explainer.traits.method, gaps)
    return Finding(
        values=gaps[degree],
        limits=bench.rounding_of(maps),
        facts={"difference to R(x)": gaps[0], "difference to 2 R(x)": gaps[1]},
        left_out={"zero maps": int(gaps[degree].isnan().sum())},
        tensors={"input": bench.inputs, "map": maps, "map of twice the input": twice},
        notes=(f"Expected degree: {degree}, on a copy without biases.",),
        cause="The map does not scale with the output: a constant is added, it is normalised or "
        "squared, a stabiliser or noise of fixed size enters, or the baseline is not zero.",
    )


def _require_homogeneous(bench: Bench, model: nn.Module) -> None:
    """Require f(2x) = 2 f(x) for the inputs of the bench.

    Raises:
        NotApplicable: the outputs do not scale with the inputs, or all of them are zero.
    """
    # In float64, since float32 would hide the small constant that a normalisation adds.
    exact, inputs = copy.deepcopy(model).double(), bench.inputs.double()
    with torch.no_grad():
        once = bench.batched(exact, inputs)
        twice = bench.batched(exact, _FACTOR * inputs)
    gap, scale = float((twice - _FACTOR * once).abs().max()), float(twice.abs().max())
    if scale == 0:
        raise NotApplicable("all outputs of the model are zero without its biases")
    if not gap <= rounding(exact, torch.float64) * scale:
        raise NotApplicable(
            f"without biases f(2x) still differs from 2 f(x) by {gap:.2g}, with outputs up to "
            f"{scale:.2g}: the model has layers that do not scale with their inputs"
        )


def _degree(method: str | None, gaps: list[Tensor]) -> int:
    if method in _DEGREE_0:
        return 0
    if method in _DEGREE_1:
        return 1
    to_same, to_twice = (float(gap.nansum()) for gap in gaps)
    return 0 if to_same < to_twice else 1
