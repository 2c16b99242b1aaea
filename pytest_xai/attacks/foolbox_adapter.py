"""The door to foolbox: its attacks run on a `Victim`, and nothing else of it is used."""

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
    """An attack of foolbox as one of ours; what it says about its success is thrown away.

    Args:
        make: given foolbox, makes the attack.
        epsilon: its budget, in units of the inputs; None: it has none.
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
    """An attack of foolbox that is run on inputs from 0 to 1, whatever the subject's bounds.

    Steps and constants of some of its attacks are made for that range, and some clip to it.

    Args:
        attack: given foolbox's model, inputs from 0 to 1 and the victim; its result is from 0 to 1.
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
    """Import foolbox, whatever the environment makes of that."""
    # It imports GitPython, which refuses to be imported where there is no git program, and a name
    # that scipy has deprecated, which would be an error where warnings are.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return require("foolbox")
