"""Adapter that runs attacks of foolbox on a `Victim`."""

import os
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from pytest_xai.attacks.victim import Attack, Victim
from pytest_xai.core.optional import require

__all__ = ["by_foolbox", "by_foolbox_on_unit_range", "foolbox"]


def by_foolbox(make: Callable[[ModuleType], Any], epsilon: float | None = None) -> Attack:
    """Convert an attack of foolbox; its own report of success is ignored.

    Args:
        make: takes the module foolbox and returns the attack.
        epsilon: budget of the attack, in units of the inputs; None: no budget.
    """

    def attack(victim: Victim) -> Tensor:
        model = foolbox().PyTorchModel(
            victim.network, bounds=victim.bounds, device=victim.inputs.device
        )
        _, clipped, _ = make(foolbox())(model, victim.inputs, victim.labels, epsilons=epsilon)
        made: Tensor = clipped
        return made

    return attack


def by_foolbox_on_unit_range(attack: Callable[[Any, Tensor, Victim], Tensor]) -> Attack:
    """Convert an attack of foolbox that needs inputs from 0 to 1.

    Some attacks of foolbox have steps and constants for this range, or clip their result to it.

    Args:
        attack: takes the model of foolbox, the inputs scaled to [0, 1] and the victim; returns
            inputs in [0, 1].
    """

    def rescaled(victim: Victim) -> Tensor:
        low, high = victim.bounds
        network = _FromUnitRange(victim.network, low, high).eval()
        model = foolbox().PyTorchModel(network, bounds=(0.0, 1.0), device=victim.inputs.device)
        inputs = ((victim.inputs - low) / (high - low)).clamp(0, 1)
        made = attack(model, inputs, victim)
        return (low + (high - low) * made).clamp(low, high)

    return rescaled


class _FromUnitRange(nn.Module):
    def __init__(self, network: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.network = network
        self.low = low
        self.high = high

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(self.low + (self.high - self.low) * inputs)
        return logits


def foolbox() -> ModuleType:
    """Import foolbox, also without git and where warnings are errors."""
    # foolbox imports GitPython, which fails without a git program, and a deprecated name of scipy,
    # which fails where warnings are errors.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return require("foolbox")
