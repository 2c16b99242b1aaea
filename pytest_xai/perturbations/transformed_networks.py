"""Transformed networks, for which the effect on a correct map is known."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["Wrapped", "equal_function", "mixed", "widened"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# The permutation matrix is quadratic in the number of inputs; larger ones need too much memory.
_LARGEST_SPLIT = 4096


class Wrapped(nn.Module):
    """A model with computations before, after or beside it; explainers find layers by old names.

    Args:
        model: the wrapped model.
        before: changes the inputs of the model, but not those of ``beside``.
        after: receives the outputs of the model.
        beside: receives the original inputs; its outputs are added.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        before: Callable[[Tensor], Tensor] | None = None,
        after: nn.Module | None = None,
        beside: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.before = before
        self.after = nn.Identity() if after is None else after
        self.beside = beside
        self.training = model.training
        for part in (self.after, self.beside):
            if part is not None:
                part.train(model.training)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute ``after(model(before(inputs))) + beside(inputs)``."""
        given = inputs if self.before is None else self.before(inputs)
        outputs: Tensor = self.after(self.model(given))
        return outputs if self.beside is None else outputs + self.beside(inputs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Copying looks up special methods by name, which must not come from the model.
            if name == "model" or name.startswith("__"):
                raise
            return getattr(self.model, name)

    def get_submodule(self, target: str) -> nn.Module:
        """Return a layer by its name in the wrapped model."""
        return self.model.get_submodule(target)


def widened(model: nn.Module) -> Wrapped:
    """Return the model with one additional last channel (or feature) that it ignores."""
    return Wrapped(model, before=lambda inputs: inputs[:, :-1].contiguous())


def mixed(
    model: nn.Module, *, outputs: int, own: float, other: float, like: Tensor | None = None
) -> Wrapped:
    """Return the model with the outputs ``own * f_c + other * f_(c+1)``, indices modulo outputs.

    Args:
        model: a model with outputs (N, outputs).
        outputs: number of outputs; a single output is multiplied by ``own + other``.
        own: weight of the output itself.
        other: weight of the next output.
        like: a tensor with the dtype and device of the outputs; None: the model's first floating
            tensor.
    """
    if like is None:
        tensors = itertools.chain(model.parameters(), model.buffers())
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(()))
    # Skips the default initialisation, which would use the global generator.
    layer = skip_init(nn.Linear, outputs, outputs, bias=False)
    eye = torch.eye(outputs)
    weight = own * eye + other * eye.roll(1, dims=1) if outputs > 1 else (own + other) * eye
    layer.weight = nn.Parameter(weight.to(like), requires_grad=False)
    return Wrapped(model, after=layer)


def equal_function(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, list[str]]:
    """Return another network that computes the same function, and a list of the changes.

    A batch normalisation right after a convolution is folded into the convolution. The last linear
    layer is split in two; the first part reorders and doubles its inputs. Every ReLU module is
    replaced by the product z * 1[z > 0]. Derivatives are the same as well, also where the input of
    a ReLU is zero. Computations between modules are not visible, such as a second use of the
    output of a convolution; the caller therefore compares the outputs.

    Args:
        model: the model in evaluation mode; it is not changed.
        inputs: (N, *shape), to record the order of execution; one image is enough.
    """
    twin = copy.deepcopy(model)
    order = _executed(twin, inputs)
    rewritten = _fold(twin, order) + _split(twin, order) + _unfold_relus(twin, order)
    return twin, rewritten


@dataclass(frozen=True, slots=True)
class _Run:
    """One call of a leaf module; versions show whether a tensor was changed in place later."""

    name: str
    module: Any
    given: Any
    version: int | None
    output: Any
    output_version: int | None


def _executed(model: nn.Module, inputs: Tensor) -> list[_Run]:
    """Return the calls of the leaf modules without own hooks, in the order of completion."""
    runs: list[_Run] = []
    handles = []
    for name, module in model.named_modules():
        if name and not any(True for _ in module.children()):

            def note(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
                first = given[0] if given else None
                runs.append(_Run(name, module, first, _version(first), output, _version(output)))

            # A module's own hooks may change it, for example compute its weight.
            if not (module._forward_hooks or module._forward_pre_hooks):  # noqa: SLF001
                handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return runs


def _version(value: Any) -> int | None:
    return value._version if isinstance(value, Tensor) else None  # noqa: SLF001  # there is no public attribute


def _fold(model: nn.Module, runs: list[_Run]) -> list[str]:
    folded = []
    once = [run.name for run in runs]
    for conv, norm in itertools.pairwise(runs):
        if (
            type(conv.module) in _CONVOLUTIONS
            and type(norm.module) in _BATCH_NORMS
            and norm.module.running_mean is not None
            and norm.given is conv.output
            and norm.version == conv.output_version
            and once.count(conv.name) == once.count(norm.name) == 1
        ):
            _replace(model, conv.module, fuse_conv_bn_eval(conv.module, norm.module))
            _replace(model, norm.module, nn.Identity())
            folded.append(f"{norm.name} folded into {conv.name}")
    return folded


def _split(model: nn.Module, runs: list[_Run]) -> list[str]:
    for name, layer in ((run.name, run.module) for run in reversed(runs)):
        if type(layer) is nn.Linear and layer.in_features <= _LARGEST_SPLIT:
            size = layer.in_features
            first = skip_init(nn.Linear, size, size, bias=False).to(layer.weight)
            second = copy.deepcopy(layer)
            with torch.no_grad():
                # Neither a reversal nor a power of two causes rounding.
                first.weight.copy_(2 * torch.eye(size).flip(0))
                second.weight.copy_(layer.weight.flip(1) / 2)
            _replace(model, layer, nn.Sequential(first, second))
            return [f"{name} split in two"]
    return []


def _unfold_relus(model: nn.Module, runs: list[_Run]) -> list[str]:
    relus = dict.fromkeys(run.module for run in runs if type(run.module) is nn.ReLU)
    for relu in relus:
        _replace(model, relu, _SignProduct(inplace=relu.inplace))
    return [f"{len(relus)} ReLU modules written as products"] if relus else []


class _SignProduct(nn.Module):
    """The function of a ReLU, max(z, 0), as z times 1[z > 0]; in place where the ReLU was."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, inputs: Tensor) -> Tensor:
        positive = inputs > 0
        return inputs.mul_(positive) if self.inplace else inputs * positive


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replace a module under all its names; several modules may refer to the same one."""
    new.train(model.training)
    for owner in list(model.modules()):
        for name, child in list(owner._modules.items()):  # noqa: SLF001  # the public iterator omits duplicates
            if child is old:
                setattr(owner, name, new)
