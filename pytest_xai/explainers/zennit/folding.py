"""Batch normalisation taken into the linear layer whose output it reads, run by run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from pytest_xai.explainers.zennit.calls import Call
from pytest_xai.explainers.zennit.functions import DENSE, TRANSPOSED

__all__ = ["Folding", "Normalisation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalisation:
    """What a call of batch_norm was given.

    Attributes:
        inputs: (N, C, ...).
        mean: running mean (C,); None: it normalises with the batch's own.
        variance: running variance (C,).
        weight: (C,) or None.
        bias: (C,) or None.
        training: it uses the batch's own statistics.
        eps: added to the variance.
    """

    inputs: Tensor
    mean: Tensor | None
    variance: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    training: bool
    eps: float

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Normalisation":
        """The arguments of torch.nn.functional.batch_norm."""
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "", "eps")
        given = dict(zip(names, args, strict=False)) | kwargs
        return cls(
            inputs=given["input"],
            mean=given["running_mean"],
            variance=given["running_var"],
            weight=given.get("weight"),
            bias=given.get("bias"),
            training=given.get("training", False),
            eps=given.get("eps", 1e-5),
        )


@dataclass(slots=True)
class _Made:
    """The output of one run of a linear layer."""

    output: Tensor
    version: int
    call: Call
    fuse: Callable[..., Any]
    reads: int = 0
    folded: bool = False


@dataclass(slots=True)
class Folding:
    """Knows which tensor is the output of which run, and how often it was read."""

    made: dict[int, _Made] = field(default_factory=dict)

    def add(self, output: Tensor, call: Call, name: str) -> None:
        """A run of a linear layer, if a batch normalisation may be taken into it."""
        assert call.weight is not None  # it is a linear layer
        fuse: Callable[..., Any] = fuse_conv_bn_weights
        foldable = True
        if name == DENSE:
            # With more dimensions, the channels of a batch normalisation are not the last one.
            fuse, foldable = fuse_linear_bn_weights, output.ndim == 2
        elif name in TRANSPOSED:
            fuse = partial(fuse_conv_bn_weights, transpose=True)
            foldable = output.shape[1] == call.weight.shape[1]  # else it has groups
        if foldable:
            # torch has no public name for its count of changes in place.
            version = output._version  # noqa: SLF001
            self.made[id(output)] = _Made(output, version, call, fuse)

    def fold(self, norm: Normalisation) -> bool:
        """Change the weights of the run that made its input; False: there is none."""
        made = self.made.get(id(norm.inputs))
        if made is None or made.version != norm.inputs._version:  # noqa: SLF001
            return False
        call = made.call
        call.set(
            *made.fuse(
                call.weight, call.bias, norm.mean, norm.variance, norm.eps, norm.weight, norm.bias
            )
        )
        made.folded = True
        return True

    def read(self, values: list[Tensor]) -> bool:
        """Note that a call read these; False: one was folded, and now something else reads it."""
        found = [made for made in (self.made.get(id(value)) for value in values) if made]
        for made in found:
            made.reads += 1
        return not any(made.folded and made.reads > 1 for made in found)
