"""Networks made from a model that have a property whatever the model is: a symmetry, no biases."""

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from pytest_xai.perturbations.transformed_networks import Wrapped

__all__ = [
    "averaged",
    "circular",
    "ends_weighted",
    "half_averaged",
    "mirror_averaged",
    "mirrored",
    "shifted",
    "unbiased",
]

_PADDED = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def averaged(inputs: Tensor, dim: int, order: list[int]) -> Tensor:
    """The mean of inputs and of the same inputs in another order along one dimension.

    An order that is its own inverse leaves the mean bit for bit, since two numbers have the same
    sum either way. Written with calls that rules on calls know: an index, a sum, a multiple.

    Args:
        inputs: (N, ...).
        dim: the dimension, from 1 on.
        order: positions along it.
    """
    everything: tuple[slice | list[int], ...] = (slice(None),) * dim
    return (inputs + inputs[(*everything, order)]) * 0.5


def mirror_averaged(inputs: Tensor) -> Tensor:
    """The mean of inputs and their mirror image along the last dimension, (N, ...)."""
    return averaged(inputs, inputs.ndim - 1, list(range(inputs.shape[-1]))[::-1])


def mirrored(model: nn.Module) -> Wrapped:
    """The model at `mirror_averaged` inputs: its outputs are those of the mirrored inputs."""
    return Wrapped(model, before=mirror_averaged)


def half_averaged(model: nn.Module, *, dim: int, side: int) -> Wrapped:
    """The model at the mean of its inputs and of those rolled by half of a side.

    Its outputs stay the same when inputs are rolled by half of that side.

    Args:
        model: the model.
        dim: the dimension of the inputs (N, ...) that is rolled.
        side: its length, an even number.
    """
    order = [(place + side // 2) % side for place in range(side)]
    return Wrapped(model, before=lambda inputs: averaged(inputs, dim, order))


def shifted(model: nn.Module, *, by: float) -> Wrapped:
    """The model that expects its inputs with a constant added (Kindermans 2019, sec. 2)."""
    return Wrapped(model, before=lambda inputs: inputs - by)


def unbiased(model: nn.Module) -> nn.Module:
    """Set every constant that layers add to zero: all biases, and the means of batch norms.

    Args:
        model: in evaluation mode; it is changed.

    Returns:
        The model. With linear layers, ReLU and pooling, f(t x) = t f(x) for t > 0; other layers
        may break that: compare the outputs.
    """
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            last = name.rpartition(".")[2]
            if last.endswith("running_mean") or "bias" in last:
                tensor.zero_()
    return model


def circular(model: nn.Module) -> int:
    """Let every convolution that pads with zeros pad with the opposite side instead.

    Args:
        model: it is changed.

    Returns:
        How many convolutions were changed.
    """
    changed = 0
    for module in model.modules():
        # "same" is no row of zeros either.
        if (
            isinstance(module, _PADDED)
            and module.padding_mode == "zeros"
            and any(side != 0 for side in module.padding)
        ):
            module.padding_mode = "circular"
            changed += 1
    return changed


class _Ends(nn.Module):
    """Weighted sums of the first and the last feature of each input."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        # Without its usual start, which would draw from the global generator.
        self.layer = skip_init(nn.Linear, 2, len(weight), bias=False)
        self.layer.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute (N, outputs) of (N, ...)."""
        features = inputs.flatten(1)
        both = torch.cat([features[:, :1], features[:, -1:]], 1)
        sums: Tensor = self.layer(both)
        return sums


def ends_weighted(model: nn.Module, weight: Tensor) -> Wrapped:
    """The model plus a linear function of the first and the last feature.

    Args:
        model: its outputs are (N, outputs).
        weight: (outputs, 2), in the dtype of the inputs.
    """
    return Wrapped(model, beside=_Ends(weight))
