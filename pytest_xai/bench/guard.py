"""Restores a model and the process after other people's code ran, and reports what it changed.

Models and explainers are guests: code of users and libraries. A `Guard` knows the state of the
model and of the process before a guest runs. Afterwards it restores and reports all differences.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_globals

from pytest_xai.bench.evaluations import is_counting

__all__ = ["Guard", "SideEffect"]

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
    "_global_forward_hooks_always_called",
    "_global_module_registration_hooks",
    "_global_parameter_registration_hooks",
    "_global_buffer_registration_hooks",
)
# Registering a backward hook sets it, removing the hook does not unset it: no explainer's fault.
# It is restored without a report, since a module that has it refuses the other kind of hooks.
_QUIET = "_is_full_backward_hook"
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_TABLES = ("_parameters", "_buffers", "_modules")


@dataclass(frozen=True, slots=True)
class SideEffect:
    """One thing that a guest changed.

    Attributes:
        kind: "training mode", "parameter", "buffer", "requires_grad", "grad", "hook",
            "attribute", "submodule", "grad mode", "default dtype", "backend flag".
        where: name of the module, parameter or setting.
        detail: says how it changed.
    """

    kind: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} of {self.where}: {self.detail}"


class Guard:
    """Stores a snapshot of one model's state, and restores it after guests ran.

    The snapshot is taken once and compared after every guest, since copying all weights before
    each call would cost more than comparing them.

    Args:
        model: as it is now; its state is the one to restore.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._own: set[tuple[str, str]] = set()
        self._take_snapshot()

    def refresh(self, layer: nn.Module | None = None) -> None:
        """Store the present values of parameters and buffers: the check itself changed them.

        Args:
            layer: the module whose own parameters and buffers changed; None: the whole model.
        """
        part, deep = (self.model, True) if layer is None else (layer, False)
        changed = {*part.parameters(recurse=deep), *part.buffers(recurse=deep)}
        for tensor in self._tensors:
            if tensor.tensor in changed:
                tensor.value.copy_(tensor.tensor.detach())

    def learn(self, effects: list[SideEffect]) -> None:
        """Do not report these effects: the model causes them itself, as a built-in counter does."""
        self._own |= {(effect.kind, effect.where) for effect in effects}

    @contextmanager
    def watch(self) -> Iterator[list[SideEffect]]:
        """Run guests' code within the context; restore what it changed, also when it raises.

        Gradients are enabled within. `core.seeds.seeded` restores the random generators.

        Yields:
            A list, which holds the side effects after the context is left.
        """
        process = _Process()
        effects: list[SideEffect] = []
        grad_mode = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        try:
            yield effects
        finally:
            if not torch.is_grad_enabled():
                effects.append(SideEffect("grad mode", "torch", "left disabled"))
            torch.set_grad_enabled(grad_mode)
            effects += process.restore()
            effects += [
                effect
                for effect in self._restored()
                if (effect.kind, effect.where) not in self._own
            ]

    def _restored(self) -> list[SideEffect]:
        parts: list[_Module | _Tensor] = [*self._modules, *self._tensors]
        return [effect for part in parts for effect in part.restore()]

    def _take_snapshot(self) -> None:
        self._modules = [_Module(name, module) for name, module in self.model.named_modules()]
        self._tensors = [
            _Tensor("parameter", name, value) for name, value in self.model.named_parameters()
        ] + [_Tensor("buffer", name, value) for name, value in self.model.named_buffers()]
        # Constants that a model keeps as plain attributes instead of buffers.
        self._tensors += [
            _Tensor("attribute", f"{module.name}.{key}", value)
            for module in self._modules
            for key, value in module.attributes.items()
            if isinstance(value, Tensor)
        ]


class _Process:
    """Settings of the whole process that explainers are known to change."""

    def __init__(self) -> None:
        self.values = {setting: setting.read() for setting in _SETTINGS}
        names = [name for name in _GLOBAL_HOOKS if hasattr(module_globals, name)]
        self.hooks = [_Table(vars(module_globals), name) for name in names]

    def restore(self) -> list[SideEffect]:
        effects = []
        for setting, value in self.values.items():
            now = setting.read()
            if now != value:
                effects.append(SideEffect(setting.kind, setting.where, f"{value} became {now}"))
                setting.write(value)
        effects += [
            SideEffect("hook", f"all modules ({table.name})", "added or removed")
            for table in self.hooks
            if table.restore()
        ]
        return effects


@dataclass(frozen=True, slots=True)
class _Setting:
    kind: str
    where: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _cudnn(name: str) -> _Setting:
    backend = torch.backends.cudnn
    return _Setting(
        "backend flag",
        f"cudnn.{name}",
        lambda: getattr(backend, name),
        lambda value: setattr(backend, name, value),
    )


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


_SETTINGS = (
    _Setting("default dtype", "torch", torch.get_default_dtype, torch.set_default_dtype),
    _Setting(
        "backend flag",
        "torch deterministic algorithms",
        _deterministic,
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    _Setting(
        "backend flag",
        "autograd anomaly detection",
        torch.is_anomaly_enabled,
        torch.autograd.set_detect_anomaly,
    ),
    _cudnn("enabled"),
    _cudnn("benchmark"),
    _cudnn("deterministic"),
)


class _Module:
    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name or type(module).__name__
        self.module = module
        self.kind = type(module)
        self.training = module.training
        self.quiet = vars(module).get(_QUIET)
        inside = vars(module)
        self.hooks = [_Table(inside, name) for name in _HOOKS if name in inside]
        self.tables = [_Table(inside, name) for name in _TABLES]
        self.apart = {*_TABLES, *(table.name for table in self.hooks), "training", _QUIET}
        self.attributes = {key: value for key, value in inside.items() if key not in self.apart}

    def restore(self) -> list[SideEffect]:
        effects = []
        if self.module.training != self.training:
            now = "train" if self.module.training else "eval"
            effects.append(SideEffect("training mode", self.name, f"left in {now} mode"))
            self.module.training = self.training
        if type(self.module) is not self.kind:
            effects.append(SideEffect("attribute", f"{self.name}.__class__", "changed"))
            self.module.__class__ = self.kind
        if _QUIET in vars(self.module):
            vars(self.module)[_QUIET] = self.quiet
        hooked = [table.name for table in self.hooks if table.restore()]
        if hooked:
            kinds = ", ".join(name.removeprefix("_") for name in hooked)
            effects.append(SideEffect("hook", self.name, f"{kinds} added or removed"))
        for table in self.tables:
            if table.restore():
                what = table.name.strip("_").removesuffix("s")
                what = "submodule" if what == "module" else what
                effects.append(SideEffect(what, self.name, "replaced, added or removed"))
        effects += self._restore_attributes()
        return effects

    def _restore_attributes(self) -> list[SideEffect]:
        now = vars(self.module)
        added = [key for key in now if key not in self.attributes and key not in self.apart]
        changed = [
            key for key, value in self.attributes.items() if key not in now or now[key] is not value
        ]
        for key in added:
            del now[key]
        for key in changed:
            now[key] = self.attributes[key]
        return [
            *(SideEffect("attribute", f"{self.name}.{key}", "added") for key in added),
            *(SideEffect("attribute", f"{self.name}.{key}", "changed") for key in changed),
        ]


class _Tensor:
    """A parameter or buffer by value, since edits of `.data` do not change a tensor's version."""

    def __init__(self, kind: str, name: str, tensor: Tensor) -> None:
        self.kind, self.name, self.tensor = kind, name, tensor
        self.value = tensor.detach().clone()
        self.requires_grad = tensor.requires_grad
        self.grad = tensor.grad if tensor.is_leaf else None
        self.grad_value = None if self.grad is None else self.grad.detach().clone()
        self.hooks = {name: dict(getattr(tensor, name) or {}) for name in _TENSOR_HOOKS}

    def restore(self) -> list[SideEffect]:
        effects = []
        tensor = self.tensor
        if tensor.requires_grad != self.requires_grad:
            effects.append(SideEffect("requires_grad", self.name, f"left {tensor.requires_grad}"))
            if not tensor.is_leaf:  # a buffer that became part of a graph by a change in place
                tensor.detach_()
            tensor.requires_grad_(self.requires_grad)
        if not _same(tensor, self.value):
            effects.append(SideEffect(self.kind, self.name, "its values changed"))
            _write(tensor, self.value)
        if tensor.is_leaf and self._grad_changed():
            effects.append(SideEffect("grad", self.name, ".grad was written"))
            if self.grad is not None and self.grad_value is not None:
                _write(self.grad, self.grad_value)
            tensor.grad = self.grad
        for name, before in self.hooks.items():
            table = getattr(tensor, name)
            if dict(table or {}) != before:
                effects.append(SideEffect("hook", self.name, f"{name} added or removed"))
                if table is None:
                    setattr(tensor, name, OrderedDict(before))
                else:  # the same table, since the autograd engine keeps it
                    table.clear()
                    table.update(before)
        return effects

    def _grad_changed(self) -> bool:
        if self.tensor.grad is not self.grad:
            return True
        if self.grad is None or self.grad_value is None:
            return False
        return not _same(self.grad, self.grad_value)


def _write(tensor: Tensor, value: Tensor) -> None:
    if _same_kind(tensor, value):
        tensor.data.copy_(value)
    else:
        tensor.data = value.clone()


def _same_kind(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device


def _same(now: Tensor, before: Tensor) -> bool:
    """Return whether two tensors are equal bit by bit, also where both are NaN."""
    if not _same_kind(now, before):
        return False
    flat = [tensor.detach().contiguous().reshape(-1) for tensor in (now, before)]
    # Comparing eight bytes at once is faster.
    whole = torch.int64 if all(map(_is_aligned, flat)) else torch.uint8
    return torch.equal(flat[0].view(whole), flat[1].view(whole))


def _is_aligned(flat: Tensor) -> bool:
    """Return whether a tensor begins and ends at a multiple of eight bytes."""
    size = flat.element_size()
    return (flat.numel() * size) % 8 == 0 and (int(flat.storage_offset()) * size) % 8 == 0


class _Table:
    """A dictionary that is an attribute of a module: its identity, and its entries in order."""

    def __init__(self, owner: dict[str, Any], name: str) -> None:
        self.owner, self.name = owner, name
        self.table: dict[Any, Any] = owner[name]
        self.before = dict(self.table)

    def restore(self) -> bool:
        """Restore the same dictionary, since handles of hooks refer to it, and its entries.

        Hooks of counters are no side effects: they come and go with their benches.

        Returns:
            Whether anything differed.
        """
        now: dict[Any, Any] = self.owner.get(self.name) or {}
        expected = {
            **{key: entry for key, entry in self.before.items() if is_counting(entry) is not False},
            **{key: entry for key, entry in now.items() if is_counting(entry)},
        }
        same = list(now) == list(expected) and all(now[key] is expected[key] for key in now)
        if same and self.owner.get(self.name) is self.table:
            return False
        self.owner[self.name] = self.table
        self.table.clear()
        self.table.update(expected)
        return True
