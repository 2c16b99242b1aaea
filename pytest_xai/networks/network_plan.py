"""A small network as data: comparable, and as source that a person can read and run."""

import functools
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.networks.draft import Draft, kind_of_input
from pytest_xai.networks.kinds import write
from pytest_xai.networks.step import Step
from pytest_xai.networks.weights import (
    WEIGHTS,
    drawn_inputs,
    drawn_weights,
    literal,
    literal_weights,
)

__all__ = ["Plan"]

_DTYPES = ("float32", "float64")
_FEW = 32  # numbers that are written out rather than drawn


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """A small network; its shapes are inferred step by step, so that every plan is well-formed.

    Attributes:
        input_shape: (F,), (C, L), (C, H, W) or (C, D, H, W).
        steps: one or more, in order; what is behind the last has shape (classes,).
        weights: "ones" (all alike), "quarters" (few levels) or "fine" (2049 levels, so that no two
            values tie by chance). The inputs follow.
        seed: of the network's own generator, from 0 on.
        dtype: "float32" or "float64".
        channels_last: the weights' memory format, for images.

    Raises:
        UnknownName: there is no such kind of step or of weights, or no such dtype.
        InvalidArgument: a step does not fit the shape before it, or the last shape is not
            (classes,).
    """

    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]
    weights: str = "quarters"
    seed: int = 0
    dtype: str = "float32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise UnknownName.among("kind of weights", self.weights, WEIGHTS)
        if self.dtype not in _DTYPES:
            raise UnknownName.among("dtype", self.dtype, _DTYPES)
        if self.channels_last and len(self.input_shape) != 3:
            raise InvalidArgument.of("channels_last", got="True", expected="images")
        if not self.steps:
            raise InvalidArgument.of("steps", got="none", expected="one or more")
        last = _draft(self).shape
        if len(last) != 1:
            raise InvalidArgument.of(
                "steps", got=f"outputs of shape {last}", expected="(classes,): end with flatten"
            )

    def __repr__(self) -> str:
        return self.script()

    @property
    def kind(self) -> str:
        """What its inputs are: "table", "signal", "image" or "volume"."""
        return kind_of_input(self.input_shape)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return _draft(self).shape[0]

    @property
    def layers(self) -> int:
        """Number of steps, those inside forks included."""
        return sum(step.layers for step in self.steps)

    @property
    def structures(self) -> frozenset[str]:
        """Names of the structures in it, such as "functional-relu": keys of `STRUCTURES`."""
        met = _draft(self).structures
        extra = {"float64": self.dtype == "float64", "channels-last": self.channels_last}
        return frozenset(met | {name for name, holds in extra.items() if holds})

    def build(self) -> nn.Module:
        """Make the network, in evaluation mode; the global generators stay as they are."""
        made: dict[str, Any] = {"__name__": "pytest_xai.networks.generated"}
        with torch.random.fork_rng(devices=[]):  # modules draw weights, which are then replaced
            # One source for network and script: they cannot differ.
            exec(_compiled(self), made)  # noqa: S102
        model: nn.Module = made["model"]
        # What was drawn has the same bits in every dtype, whatever torch's default is just now.
        return model.to(getattr(torch, self.dtype))

    def script(self) -> str:
        """Source that defines ``model``, the same to the last bit, and imports only torch."""
        state = self.build().state_dict()
        few = sum(tensor.numel() for tensor in state.values()) <= _FEW
        filling = literal_weights(state) if few and state else _filling(self)
        return _joined(_architecture(self), filling if state else "")

    def inputs(self, n: int, seed: int = 0) -> Tensor:
        """Draw inputs (n, *input_shape) from -2 to 2; the global generators stay as they are."""
        made: dict[str, Any] = {"torch": torch}
        exec(_drawing(self, n, seed), made)  # noqa: S102  # one source, as above
        drawn: Tensor = made["inputs"]
        return drawn.to(getattr(torch, self.dtype))

    def inputs_script(self, n: int, seed: int = 0) -> str:
        """Source that defines ``inputs``, the same tensor to the last bit; torch is imported."""
        drawn = self.inputs(n, seed)
        if drawn.numel() <= _FEW:
            return f"inputs = {literal(drawn)}"
        return _drawing(self, n, seed)


@functools.lru_cache(maxsize=1024)
def _draft(plan: Plan) -> Draft:
    kind_of_input(plan.input_shape)
    draft = Draft(plan.input_shape, strided=plan.channels_last)
    for step in plan.steps:
        write(step, draft)
    return draft


@functools.lru_cache(maxsize=256)
def _compiled(plan: Plan) -> CodeType:
    return compile(_joined(_architecture(plan), _filling(plan)), "<generated network>", "exec")


def _joined(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _architecture(plan: Plan) -> str:
    draft = _draft(plan)
    head = "import torch\nfrom torch import nn\n"
    if draft.chain:
        rows = [f"    {source}," for source in draft.modules.values()]
        return _joined(head, "model = nn.Sequential(", *rows, f"){_finish(plan)}")
    held = [
        f'        self.register_buffer("{name}", {source})'
        if source.startswith("torch.")
        else f"        self.{name} = {source}"
        for name, source in draft.modules.items()
    ]
    body = [f"        {line}" for line in (*draft.lines, "return x")]
    return _joined(
        f"{head}\n",
        "class Net(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        *held,
        "\n    def forward(self, x):",
        *body,
        f"\n\nmodel = Net(){_finish(plan)}",
    )


def _finish(plan: Plan) -> str:
    double = ".double()" if plan.dtype == "float64" else ""
    order = ".to(memory_format=torch.channels_last)" if plan.channels_last else ""
    return f"{double}{order}.eval()"


def _filling(plan: Plan) -> str:
    draft = _draft(plan)
    return drawn_weights(
        plan.weights,
        seed=plan.seed,
        fan_in=draft.fan_in,
        statistics="batch-norm" in draft.structures,
    )


def _drawing(plan: Plan, n: int, seed: int) -> str:
    return drawn_inputs(
        (n, *plan.input_shape), weights=plan.weights, seed=seed, double=plan.dtype == "float64"
    )
