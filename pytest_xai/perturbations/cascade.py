"""Re-initialisation of the layers of a model, one after the other, in a given order."""

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
    """The result of one step.

    Attributes:
        layer: name of the module whose own tensors were re-initialised.
        touched: the modules whose own tensors changed in this step.
        kept: full names of the tensors that could not be re-initialised.
    """

    layer: str
    touched: tuple[nn.Module, ...]
    kept: tuple[str, ...]


def redraw(model: nn.Module, names: Sequence[str], *, order: str, seed: int) -> Iterator[Step]:
    """Re-initialise the layers of a model in place, one layer per step.

    The new weights of a layer depend only on the seed and its name. A layer gets the same weights
    in all orders, and two layers of the same shape get different weights.

    Args:
        model: it is changed; pass a copy. Only the tensors of one layer are kept in memory.
        names: its layers in the order of execution, see `pytest_xai.core.model_layers.layers`.
        order: "top_down": cumulatively from the output to the input (the cascade of Adebayo
            2018); "bottom_up": cumulatively from the input to the output; "independent": one
            layer at a time, after the previous one was restored.
        seed: seed of the new weights.

    Yields:
        Each step, right after it was done. After the last step of "independent" the model has
        its original weights.

    Raises:
        InvalidArgument: ``order`` is unknown.
    """
    if order not in ORDERS:
        raise InvalidArgument.of("order", got=repr(order), expected=f"one of {ORDERS}")
    last: tuple[nn.Module, ...] = ()
    for name in names if order == "bottom_up" else reversed(names):
        # The method of nn.Module, because wrappers redefine it for the names of the wrapped model.
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
