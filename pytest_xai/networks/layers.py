"""Steps that are layers or activations: linear layers, normalisations, elementwise functions."""

import math
from collections.abc import Callable

from pytest_xai.networks.draft import Draft
from pytest_xai.networks.step import Step

__all__ = [
    "ACTIVATIONS",
    "batch_norm",
    "buffer",
    "dropout",
    "exp",
    "functional_relu",
    "group_norm",
    "inplace_relu",
    "instance_norm",
    "layer_norm",
    "linear",
    "shared_linear",
    "shared_relu",
    "unused",
]

# Layers whose backward pass needs their input but not the output that an in-place step overwrites.
_OVERWRITABLE = frozenset({"linear", "conv"})


def linear(step: Step, draft: Draft) -> None:
    """Write a linear layer with bias."""
    draft.apply("linear", _linear(step, draft, step.width))


def shared_linear(step: Step, draft: Draft) -> None:
    """Write a square linear layer; all such steps of one width share their weights."""
    if draft.reuse("linear", _linear(step, draft, draft.shape[0])):
        draft.structures.add("shared-weights")


def _linear(step: Step, draft: Draft, width: int) -> str:
    draft.require(not draft.rank, step, "a table (F,)")
    features = draft.shape[0]
    draft.fan_in = max(draft.fan_in, features)
    draft.structures.add("linear")
    draft.shape = (width,)
    return f"nn.Linear({features}, {width})"


def _module(stem: str, source: str, structure: str) -> Callable[[Step, Draft], None]:
    def activation(step: Step, draft: Draft) -> None:
        draft.structures.add(structure)
        draft.apply(stem, source)

    return activation


ACTIVATIONS = {
    "relu": _module("relu", "nn.ReLU()", "relu"),
    "gelu": _module("gelu", "nn.GELU()", "gelu"),
    "silu": _module("silu", "nn.SiLU()", "silu"),
    "sigmoid": _module("sigmoid", "nn.Sigmoid()", "sigmoid"),
    "tanh": _module("tanh", "nn.Tanh()", "tanh"),
    "softmax": _module("softmax", "nn.Softmax(dim=1)", "softmax"),
    "log-softmax": _module("softmax", "nn.LogSoftmax(dim=1)", "log-softmax"),
}


def shared_relu(step: Step, draft: Draft) -> None:
    """Write a ReLU module; all such steps use the same module."""
    draft.structures.add("relu")
    if draft.reuse("relu", "nn.ReLU()"):
        draft.structures.add("relu-used-twice")


def functional_relu(step: Step, draft: Draft) -> None:
    """Write a functional ReLU, which hooks on modules cannot see."""
    draft.structures.add("functional-relu")
    draft.write("x = torch.relu(x)")


def inplace_relu(step: Step, draft: Draft) -> None:
    """Write a ReLU that overwrites the output of the layer before it."""
    draft.require(draft.last in _OVERWRITABLE, step, "a linear layer or convolution just before")
    draft.structures.add("inplace-relu")
    draft.apply("relu", "nn.ReLU(inplace=True)")


def exp(step: Step, draft: Draft) -> None:
    """Write an exponential of tanh, which prevents an overflow."""
    draft.structures.add("exp")
    draft.write("x = torch.exp(torch.tanh(x))")


def batch_norm(step: Step, draft: Draft) -> None:
    """Write a batch normalisation with running statistics."""
    draft.structures.add("batch-norm")
    draft.apply("norm", f"nn.BatchNorm{max(draft.rank, 1)}d({draft.shape[0]})")


def group_norm(step: Step, draft: Draft) -> None:
    """Write a group normalisation."""
    channels, *sizes = draft.shape
    draft.require(channels % step.groups == 0, step, "groups that divide the channels")
    draft.require(channels // step.groups * math.prod(sizes) > 1, step, "groups of two or more")
    draft.structures.add("group-norm")
    draft.apply("norm", f"nn.GroupNorm({step.groups}, {channels})")


def layer_norm(step: Step, draft: Draft) -> None:
    """Write a layer normalisation over all axes except the batch."""
    draft.require(math.prod(draft.shape) > 1, step, "two elements or more")
    draft.structures.add("layer-norm")
    sizes = draft.shape[0] if not draft.rank else list(draft.shape)
    draft.apply("norm", f"nn.LayerNorm({sizes})")


def instance_norm(step: Step, draft: Draft) -> None:
    """Write an instance normalisation."""
    draft.require(draft.rank and math.prod(draft.shape[1:]) > 1, step, "two places or more")
    draft.structures.add("instance-norm")
    draft.apply("norm", f"nn.InstanceNorm{draft.rank}d({draft.shape[0]}, affine=True)")


def dropout(step: Step, draft: Draft) -> None:
    """Write a dropout, which does nothing in evaluation mode."""
    draft.structures.add("dropout")
    draft.apply("dropout", "nn.Dropout(0.5)")


def buffer(step: Step, draft: Draft) -> None:
    """Write an offset for each channel that is a buffer, not a parameter."""
    draft.structures.add("buffer")
    sizes = ", ".join(map(str, (draft.shape[0], *[1] * draft.rank)))
    draft.write(f"x = x + self.{draft.add_module('offset', f'torch.zeros({sizes})')}")


def unused(step: Step, draft: Draft) -> None:
    """Add a module that is never called."""
    draft.structures.add("unused-module")
    draft.add_module("unused", "nn.Linear(2, 2)")
    draft.write()
