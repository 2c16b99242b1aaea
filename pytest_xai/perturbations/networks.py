"""Networks made from a model in ways whose effect on a right map is known."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["Wrapped", "equal_function", "mixed", "widened"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# The permutation that splits a layer is square in its inputs: larger ones would not fit memory.
_LARGEST_SPLIT = 4096


class Wrapped(nn.Module):
    """A model with something before or behind it; its layers keep their names for guests."""

    def __init__(
        self,
        model: nn.Module,
        *,
        before: Callable[[Tensor], Tensor] | None = None,
        after: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.before = before
        self.after = nn.Identity() if after is None else after
        self.train(model.training)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run what is before, the model, and what is behind."""
        if self.before is not None:
            inputs = self.before(inputs)
        outputs: Tensor = self.after(self.model(inputs))
        return outputs

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model":
                raise
            return getattr(self.model, name)

    def get_submodule(self, target: str) -> nn.Module:
        """Find a layer under the name that it has in the model itself."""
        return self.model.get_submodule(target)


def widened(model: nn.Module) -> Wrapped:
    """The model behind one more channel (or feature), the last, that it never reads."""
    return Wrapped(model, before=lambda inputs: inputs[:, :-1])


def mixed(model: nn.Module, *, outputs: int, own: float, other: float) -> Wrapped:
    """The model whose output c is ``own * f_c + other * f_(c+1)``, the last class followed by 0."""
    layer = nn.Linear(outputs, outputs, bias=False)
    parameter = next(model.parameters(), torch.zeros(()))
    eye = torch.eye(outputs)
    weight = own * eye + other * eye.roll(1, dims=1) if outputs > 1 else (own + other) * eye
    layer.weight = nn.Parameter(weight.to(parameter), requires_grad=False)
    return Wrapped(model, after=layer)


def equal_function(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, list[str]]:
    """Another network that computes the same function, and what was rewritten.

    Every batch normalisation right behind a convolution is folded into it; the last linear layer
    is split in two, the first of which reorders and doubles its inputs; every ReLU module is
    written as the product of its input with the input's sign. Derivatives are the same as well,
    also where a ReLU's input is zero.

    Args:
        model: in evaluation mode; it stays as it is.
        inputs: (N, *shape), to see what runs behind what; one image is enough.
    """
    twin = copy.deepcopy(model)
    order = _executed(twin, inputs)
    rewritten = _fold(twin, order) + _split(twin, order) + _unfold_relus(twin, order)
    return twin, rewritten


def _executed(model: nn.Module, inputs: Tensor) -> list[tuple[str, nn.Module, Any, Any]]:
    """(name, module, input, output) of the leaf modules, in the order in which they ended."""
    runs: list[tuple[str, nn.Module, Any, Any]] = []
    handles = []
    for name, module in model.named_modules():
        if name and not any(True for _ in module.children()):

            def note(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
                runs.append((name, module, given[0] if given else None, output))

            handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return runs


def _fold(model: nn.Module, runs: list[tuple[str, nn.Module, Any, Any]]) -> list[str]:
    folded = []
    once = [name for name, *_ in runs]
    for (name, conv, _, output), (norm_name, norm, given, _) in itertools.pairwise(runs):
        if (
            isinstance(conv, _CONVOLUTIONS)
            and isinstance(norm, _BATCH_NORMS)
            and norm.running_mean is not None
            and given is output
            and once.count(name) == once.count(norm_name) == 1
        ):
            _replace(model, name, fuse_conv_bn_eval(conv, norm))
            _replace(model, norm_name, nn.Identity())
            folded.append(f"{norm_name} folded into {name}")
    return folded


def _split(model: nn.Module, runs: list[tuple[str, nn.Module, Any, Any]]) -> list[str]:
    for name, layer, *_ in reversed(runs):
        if type(layer) is nn.Linear and layer.in_features <= _LARGEST_SPLIT:
            first = nn.Linear(layer.in_features, layer.in_features, bias=False).to(layer.weight)
            second = copy.deepcopy(layer)
            with torch.no_grad():
                # A reversal and a power of two: no product is rounded.
                first.weight.copy_(2 * torch.eye(layer.in_features).flip(0))
                second.weight.copy_(layer.weight.flip(1) / 2)
            _replace(model, name, nn.Sequential(first, second))
            return [f"{name} split in two"]
    return []


def _unfold_relus(model: nn.Module, runs: list[tuple[str, nn.Module, Any, Any]]) -> list[str]:
    names = dict.fromkeys(name for name, module, *_ in runs if type(module) is nn.ReLU)
    for name in names:
        _replace(model, name, _SignProduct())
    return [f"{len(names)} ReLU modules written as products"] if names else []


class _SignProduct(nn.Module):
    """The function of a ReLU, max(z, 0), as z times 1[z > 0]."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * (inputs > 0)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    owner = model.get_submodule(parent) if parent else model
    setattr(owner, child, module.train(model.training))
