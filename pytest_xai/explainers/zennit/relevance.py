"""Relevance propagation: zennit's rules on every call of a forward pass, then one backward pass."""

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
    """The relevance of every input value for the targets' outputs.

    Args:
        model: in evaluation mode; it is not changed.
        inputs: (N, *shape).
        targets: LongTensor (N,).
        rules: of the propagation.
        ones: start with the relevance 1; else with the target's output (Bach 2015).

    Returns:
        Detached maps (N, *shape).

    Raises:
        NotApplicable: the model calls a function for which there is no rule.
    """
    size = images_per_pass(inputs)
    parts = zip(inputs.split(size), targets.split(size), strict=True)
    return torch.cat([_one_pass(model, *part, rules, ones=ones) for part in parts])


def _one_pass(
    model: nn.Module, inputs: Tensor, targets: Tensor, rules: Rules, *, ones: bool
) -> Tensor:
    if any(_is_closed(module) for module in model.modules()):
        raise NotApplicable("zennit's rules cannot look into scripted or compiled modules")
    given = fresh(inputs)
    mode = Propagation(rules)
    with frozen(model), released(mode.live):
        with mode, mode.located(model):
            # A copy, on which a first layer may work in place.
            outputs = model(given.clone())
        if not outputs.requires_grad:
            raise NotApplicable("the model's outputs have no gradient to the inputs")
        chosen = targets[:, None]
        scores = outputs.detach().gather(1, chosen)
        start = torch.zeros_like(outputs).scatter(
            1, chosen, torch.ones_like(scores) if ones else scores
        )
        (maps,) = torch.autograd.grad(outputs, given, start, materialize_grads=True)
    return maps.detach()


def _is_closed(module: nn.Module) -> bool:
    # By its name, since the class of compiled modules takes a second to import.
    compiled = type(module).__name__ == "OptimizedModule"
    return compiled or isinstance(module, torch.jit.ScriptModule)
