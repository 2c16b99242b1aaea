"""Linear probes on tables of numbers; every method has a closed form."""

import torch

from pytest_xai.core.subject import Subject
from pytest_xai.subjects.probes.points import any_draw, linear, probe, rows, vector
from pytest_xai.subjects.probes.truths import additive, of_gradient

__all__ = ["TABLES"]


def _linear() -> Subject:
    """W x + b with two classes."""
    weight, bias = rows([1, -2, 3, 0.5], [-1, 0.25, 2, 4]), vector(0.5, -1)
    inputs = rows([1, 2, 3, -1], [0.5, -1, 0.25, 2], [2, 1, -1, 1], [-3, 0.5, 1, 0.75])
    baseline = rows([0, 0, 0, 0], [1, 1, -1, 0.5], [0.5, -2, 1, 3], [-1, 0, 2, 1])
    targets = torch.tensor([0, 1, 1, 0])
    own = weight[targets]
    parts = own * (inputs - baseline)
    truths = {
        **of_gradient(own, inputs),
        **additive(parts),
        "guided_backprop": own,
        "deconvolution": own,
        "lrp_zero": own * inputs,
        "deep_lift_rescale": parts,
        "deep_lift_reveal_cancel": parts,
        **any_draw("smooth_grad", truth=own),
        **any_draw("smooth_grad_squared", truth=own.square()),
        **any_draw("var_grad", truth=torch.zeros_like(own)),
        **any_draw("expected_gradients", "lime", truth=parts),
    }
    return probe("linear", linear(weight, bias), inputs, truths, targets=targets, baseline=baseline)


def _dead() -> Subject:
    """A linear function in which one feature has weight 0."""
    weight = rows([2, 0, -1])
    inputs, baseline = rows([1, 5, 1.5], [-2, 3, 0.5]), rows([0, 0, 0], [1, -1, 2])
    own = weight.expand_as(inputs)
    parts = own * (inputs - baseline)
    truths = {
        **of_gradient(own, inputs),
        **additive(parts),
        "guided_backprop": own,
        "deconvolution": own,
        "lrp_zero": own * inputs,
        "deep_lift_rescale": parts,
        "deep_lift_reveal_cancel": parts,
    }
    return probe("dead", linear(weight), inputs, truths, baseline=baseline)


TABLES = {"linear": _linear, "dead": _dead}
