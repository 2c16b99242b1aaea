"""A small network as comparable data, with readable and executable source code."""

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
_FEW = 32  # so many numbers or fewer are written out instead of drawn


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """A small network. Shapes are inferred step by step, so that every plan is well-formed.

    Attributes:
        input_shape: (F,), (C, L), (C, H, W) or (C, D, H, W).
        steps: one or more, in order; the output of the last has shape (classes,).
        weights: "ones" (all equal), "quarters" (few levels) or "fine" (2049 levels, so that no two
            values are equal by chance). Drawn inputs have similar levels.
        seed: seed of the weights, 0 or more.
        dtype: "float32" or "float64".
        channels_last: use the memory format channels-last, for images only.

    Raises:
        UnknownName: a kind of step, the kind of weights or the dtype is unknown.
        InvalidArgument: a step does not fit the shape of its input, or the last shape is not
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
        """Kind of the inputs: "table", "signal", "image" or "volume"."""
        return kind_of_input(self.input_shape)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return _draft(self).shape[0]

    @property
    def layers(self) -> int:
        """Number of steps, including those inside forks."""
        return sum(step.layers for step in self.steps)

    @property
    def structures(self) -> frozenset[str]:
        """Names of its structures, such as "functional-relu"; keys of `STRUCTURES`."""
        found = _draft(self).structures
        extra = {"float64": self.dtype == "float64", "channels-last": self.channels_last}
        return frozenset(found | {name for name, present in extra.items() if present})

    def build(self) -> nn.Module:
        """Create the network in evaluation mode; the global generators are not changed."""
        made: dict[str, Any] = {"__name__": "pytest_xai.networks.generated"}
        with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, then replaced
            # The network is created from the source of its script, so that they cannot differ.
            exec(_compiled(self), made)  # noqa: S102
        model: nn.Module = made["model"]
        # The numbers are exact in every dtype, so that torch's default dtype has no effect.
        return model.to(getattr(torch, self.dtype))

    def script(self) -> str:
        """Return source code of ``model``, bit for bit the same; it imports only torch."""
        state = self.build().state_dict()
        few = sum(tensor.numel() for tensor in state.values()) <= _FEW
        filling = literal_weights(state) if few and state else _filling(self)
        return _joined(_architecture(self), filling if state else "")

    def inputs(self, n: int, seed: int = 0) -> Tensor:
        """Draw inputs (n, *input_shape) in [-2, 2]; the global generators are not changed."""
        made: dict[str, Any] = {"torch": torch}
        exec(_drawing(self, n, seed), made)  # noqa: S102  # the source of the script, as above
        drawn: Tensor = made["inputs"]
        return drawn.to(getattr(torch, self.dtype))

    def inputs_script(self, n: int, seed: int = 0) -> str:
        """Return source code that defines ``inputs``, bit for bit the same; it needs torch."""
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
    attributes = [
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
        *attributes,
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
