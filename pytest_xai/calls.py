"""One contained call of an explainer, and what it did beside its work."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.containment import Guard, SideEffect
from pytest_xai.guests import called
from pytest_xai.protocol import NamedExplainer
from pytest_xai.seeds import RandomState, seeded

__all__ = ["Call", "call"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One contained call of an explainer.

    Attributes:
        output: what it returned, as it came.
        effects: what it changed in the model and the process; already put back.
        touched: what it changed in its arguments ("the values of inputs", ...).
        generators: global generators whose state it moved ("torch", "numpy", "python").
        after: their states when it ended.
    """

    output: object
    effects: list[SideEffect]
    touched: list[str]
    generators: set[str]
    after: RandomState


def call(
    guard: Guard,
    explainer: NamedExplainer,
    inputs: Tensor,
    targets: Tensor,
    *,
    baseline: Tensor,
    seed: int,
) -> Call:
    """Call an explainer once on copies of the arguments; the model is given back as it was.

    Args:
        guard: of the model that is explained.
        explainer: whom to call.
        inputs: (n, *shape).
        targets: LongTensor (n,).
        baseline: (n, *shape); passed on to explainers that need one.
        seed: for the global generators, whose states are given back.

    Raises:
        GuestError: it raised; its traceback is kept.
    """
    given = {"inputs": inputs, "targets": targets, "baseline": baseline}
    copies = {name: tensor.detach().clone() for name, tensor in given.items()}
    options = {"baseline": copies["baseline"]} if explainer.traits.needs_baseline else {}
    with guard.watch() as effects, seeded(seed):
        before = RandomState.now()
        output = called(
            f"explainer {explainer.name!r}",
            lambda: explainer.call(guard.model, copies["inputs"], copies["targets"], **options),
        )
        after = RandomState.now()
    return Call(
        output=output,
        effects=effects,
        touched=[
            change
            for name, tensor in given.items()
            for change in _touched(name, copies[name], tensor)
        ],
        generators=before.differing(after),
        after=after,
    )


def _touched(name: str, now: Tensor, before: Tensor) -> list[str]:
    """What differs in an argument after the call."""
    changes = []
    same_kind = now.shape == before.shape and now.dtype == before.dtype
    if not same_kind or not torch.equal(now.detach(), before):
        changes.append(f"the values of {name}")
    if now.requires_grad:
        changes.append(f"requires_grad of {name}")
    if now.is_leaf and now.grad is not None:
        changes.append(f".grad of {name}")
    return changes
