"""Folding of a batch normalisation into the linear layer before it, for one run."""

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
    """The arguments of a call of batch_norm.

    Attributes:
        inputs: (N, C, ...).
        mean: running mean (C,); None if it normalises with the statistics of the batch.
        variance: running variance (C,).
        weight: (C,) or None.
        bias: (C,) or None.
        training: whether it uses the statistics of the batch.
        eps: constant that is added to the variance.
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
        """Read the arguments of torch.nn.functional.batch_norm."""
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
class _Run:
    """The output of one run of a linear layer."""

    output: Tensor
    version: int
    call: Call
    fuse: Callable[..., Any]
    reads: int = 0
    folded: bool = False


@dataclass(slots=True)
class Folding:
    """Records which run of a layer computed a tensor, and how often the tensor was read."""

    runs: dict[int, _Run] = field(default_factory=dict)

    def add(self, output: Tensor, call: Call, name: str) -> None:
        """Record a run of a linear layer if a batch normalisation can be folded into it."""
        assert call.weight is not None  # it is a linear layer
        fuse: Callable[..., Any] = fuse_conv_bn_weights
        foldable = True
        if name == DENSE:
            # With more dimensions, a batch normalisation's channels are not the last dimension.
            fuse, foldable = fuse_linear_bn_weights, output.ndim == 2
        elif name in TRANSPOSED:
            fuse = partial(fuse_conv_bn_weights, transpose=True)
            foldable = output.shape[1] == call.weight.shape[1]  # else it has groups
        if foldable:
            # torch has no public name for its count of changes in place.
            version = output._version  # noqa: SLF001
            self.runs[id(output)] = _Run(output, version, call, fuse)

    def fold(self, norm: Normalisation) -> bool:
        """Fold it into the run that computed its input; return False if there is no such run."""
        run = self.runs.get(id(norm.inputs))
        if run is None or run.version != norm.inputs._version:  # noqa: SLF001
            return False
        call = run.call
        call.set(
            *run.fuse(
                call.weight, call.bias, norm.mean, norm.variance, norm.eps, norm.weight, norm.bias
            )
        )
        run.folded = True
        return True

    def read(self, values: list[Tensor]) -> bool:
        """Note that a call reads these; return False if one was folded and is now read again."""
        found = [run for run in (self.runs.get(id(value)) for value in values) if run]
        for run in found:
            run.reads += 1
        return not any(run.folded and run.reads > 1 for run in found)
