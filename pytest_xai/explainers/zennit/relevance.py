"""Relevance propagation: a forward pass with zennit's rules on every call, and a backward pass."""

import torch
from torch import Tensor, nn

from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass
from pytest_xai.explainers.zennit.calls import frozen, released
from pytest_xai.explainers.zennit.propagation import Propagation
from pytest_xai.explainers.zennit.rules import Rules

__all__ = ["propagated"]


def propagated(
    model: nn.Module, inputs: Tensor, targets: Tensor, rules: Rules, *, ones: bool = False
) -> Tensor:
    """Return the relevance of every input value for the targets' outputs.

    Args:
        model: in evaluation mode; it is not changed.
        inputs: (N, *shape).
        targets: LongTensor (N,).
        rules: the rules of the propagation.
        ones: True starts with the relevance 1, False with the target's output (Bach 2015).

    Returns:
        Detached maps (N, *shape).

    Raises:
        NotApplicable: the model is scripted or compiled or calls a function without a rule, or its
            outputs have no gradient with respect to the inputs.
    """
    size = images_per_pass(inputs)
    parts = zip(inputs.split(size), targets.split(size), strict=True)
    return torch.cat([_one_pass(model, *part, rules, ones=ones) for part in parts])


def _one_pass(
    model: nn.Module, inputs: Tensor, targets: Tensor, rules: Rules, *, ones: bool
) -> Tensor:
    if any(_is_closed(module) for module in model.modules()):
        raise NotApplicable("zennit's rules cannot be applied inside scripted or compiled modules")
    given = fresh(inputs)
    mode = Propagation(rules)
    with frozen(model), released(mode.live):
        with mode, mode.located(model):
            # A copy, since the first layer may work in place.
            outputs = model(given.clone())
        if not outputs.requires_grad:
            raise NotApplicable("the model's outputs have no gradient with respect to the inputs")
        chosen = targets[:, None]
        scores = outputs.detach().gather(1, chosen)
        start = torch.zeros_like(outputs).scatter(
            1, chosen, torch.ones_like(scores) if ones else scores
        )
        (maps,) = torch.autograd.grad(outputs, given, start, materialize_grads=True)
    return maps.detach()


def _is_closed(module: nn.Module) -> bool:
    # The class of compiled modules is compared by name, since its import takes a second.
    compiled = type(module).__name__ == "OptimizedModule"
    return compiled or isinstance(module, torch.jit.ScriptModule)
