"""Layers of a model drawn anew in an order: down from the output, up from the input, one alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pytest_xai.core.seeds import derive_seed
from pytest_xai.errors import InvalidArgument
from pytest_xai.perturbations.reinitialisation import randomise_layer

__all__ = ["ORDERS", "Step", "redraw"]

ORDERS = ("top_down", "bottom_up", "independent")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one step has done to the model.

    Attributes:
        layer: name of the module whose own tensors were drawn anew.
        touched: the modules whose own tensors have other values than before the step.
        kept: full names of the tensors that could not be drawn.
    """

    layer: str
    touched: tuple[nn.Module, ...]
    kept: tuple[str, ...]


def redraw(model: nn.Module, names: Sequence[str], *, order: str, seed: int) -> Iterator[Step]:
    """Draw the layers of a model anew, in place, one with every step.

    A layer's draw depends on the seed and its name alone: in all orders it gets the same weights,
    and two layers of one shape never do.

    Args:
        model: who wants to keep it passes a copy; nothing else is held but one layer's tensors.
        names: its layers in the order of execution, see `pytest_xai.core.model_layers.layers`.
        order: "top_down": from the output to the input, and what was drawn stays drawn
            (the cascade of Adebayo 2018); "bottom_up": the same from the input to the
            output; "independent": each layer alone, the one before it is put back.
        seed: of the draw.

    Yields:
        The step, right after it was done. After the last one of "independent" the model is
        as it was.

    Raises:
        InvalidArgument: there is no such order.
    """
    if order not in ORDERS:
        raise InvalidArgument.of("order", got=repr(order), expected=f"one of {ORDERS}")
    last: tuple[nn.Module, ...] = ()
    for name in names if order == "bottom_up" else reversed(names):
        # Not the model's own method: a wrapper's looks inside, where names are shorter.
        layer = nn.Module.get_submodule(model, name)
        own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
        before = [tensor.detach().clone() for tensor in own] if order == "independent" else []
        kept = randomise_layer(layer, seed=derive_seed(seed, name))
        prefix = f"{name}." if name else ""
        yield Step(
            layer=name, touched=(*last, layer), kept=tuple(prefix + tensor for tensor in kept)
        )
        if order == "independent":
            last = (layer,)
            with torch.no_grad():
                for tensor, value in zip(own, before, strict=True):
                    tensor.copy_(value)
