"""One generated case: a network, inputs for it, and their baseline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pytest_xai.core.subject import Subject
from pytest_xai.networks import Plan

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["Example", "examples"]

_MOST_IMAGES = 3
_KINDS = ("table", "signal", "image", "volume")
# Inputs of another seed serve as a baseline that varies.
_BASELINE_SEED = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A generated subject as data.

    Attributes:
        plan: the network.
        images: how many inputs.
        zeros: whether the baseline is zero; else it is drawn as the inputs are.
    """

    plan: Plan
    images: int
    zeros: bool

    @property
    def size(self) -> tuple[int, int, int]:
        """For the choice of the smallest: layers, numbers in an input, inputs."""
        return self.plan.layers, torch.Size(self.plan.input_shape).numel(), self.images

    @property
    def label(self) -> str:
        """The network in a few words."""
        steps = "1 layer" if self.plan.layers == 1 else f"{self.plan.layers} layers"
        shape = "x".join(map(str, self.plan.input_shape))
        there = ", ".join(sorted(self.plan.structures))
        return f"{steps} on inputs of {shape}" + (f" ({there})" if there else "")

    def subject(self) -> Subject:
        """Make it: n inputs, the n-th of which is explained for class n."""
        return Subject(
            self.plan.build(),
            self.plan.inputs(self.images),
            targets=self._targets(),
            baseline=self._baseline(),
            name=self.label,
        )

    def script(self) -> str:
        """Source that defines ``subject``; `pytest_xai` is imported as ``xai``."""
        lines = [self.plan.script(), self.plan.inputs_script(self.images)]
        baseline = ""
        if not self.zeros:
            drawn = self.plan.inputs_script(1, seed=_BASELINE_SEED)
            lines.append(drawn.replace("inputs", "baseline"))
            baseline = ", baseline=baseline"
        lines.append(f"targets = torch.tensor({self._targets().tolist()})")
        lines.append(f"subject = xai.Subject(model, inputs, targets{baseline})")
        return "\n".join(lines)

    def _targets(self) -> Tensor:
        return torch.arange(self.images) % self.plan.classes

    def _baseline(self) -> Tensor | None:
        return None if self.zeros else self.plan.inputs(1, seed=_BASELINE_SEED)


def examples(kinds: frozenset[str]) -> "SearchStrategy[Example]":
    """Generated examples with inputs of these kinds; they shrink to one image and few layers."""
    # Here, so that pytest starts as fast as before.
    from hypothesis import strategies as st

    from pytest_xai import strategies

    return st.builds(
        Example,
        # In one order: that of a set is another one in every process.
        plan=strategies.plans(kinds=[kind for kind in _KINDS if kind in kinds]),
        images=st.integers(1, _MOST_IMAGES),
        zeros=st.sampled_from([True, False]),
    )
