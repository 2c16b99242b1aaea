"""Networks derived from a model that have a known property, such as a symmetry or no biases."""

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
    """Return the mean of inputs and of the same inputs in another order along one dimension.

    If the order is its own inverse, the mean of the reordered inputs is the same bit for bit, since
    addition commutes. The code uses only operations that rule-based explainers support.

    Args:
        inputs: (N, ...).
        dim: the dimension, at least 1.
        order: positions along this dimension.
    """
    everything: tuple[slice | list[int], ...] = (slice(None),) * dim
    return (inputs + inputs[(*everything, order)]) * 0.5


def mirror_averaged(inputs: Tensor) -> Tensor:
    """Return the mean of inputs and their mirror image along the last dimension, (N, ...)."""
    return averaged(inputs, inputs.ndim - 1, list(range(inputs.shape[-1]))[::-1])


def mirrored(model: nn.Module) -> Wrapped:
    """Return the model at `mirror_averaged` inputs; mirrored inputs have the same outputs."""
    return Wrapped(model, before=mirror_averaged)


def half_averaged(model: nn.Module, *, dim: int, side: int) -> Wrapped:
    """Return the model at the mean of its inputs and the inputs rolled by half of a side.

    Its outputs do not change when inputs are rolled by half of that side.

    Args:
        model: the model.
        dim: the dimension of the inputs (N, ...) that is rolled.
        side: length of this dimension, an even number.
    """
    order = [(place + side // 2) % side for place in range(side)]
    return Wrapped(model, before=lambda inputs: averaged(inputs, dim, order))


def shifted(model: nn.Module, *, by: float) -> Wrapped:
    """Return the model that expects inputs with a constant added (Kindermans 2019, sec. 2)."""
    return Wrapped(model, before=lambda inputs: inputs - by)


def unbiased(model: nn.Module) -> nn.Module:
    """Set every constant that layers add to zero: all biases, and the means of batch norms.

    Args:
        model: the model in evaluation mode; it is changed.

    Returns:
        The model. With linear layers, ReLU and pooling, f(t x) = t f(x) for t > 0; other layers
        may break this; the caller compares the outputs.
    """
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            last = name.rpartition(".")[2]
            if last.endswith("running_mean") or "bias" in last:
                tensor.zero_()
    return model


def circular(model: nn.Module) -> int:
    """Change zero padding of every convolution to circular padding.

    Args:
        model: it is changed.

    Returns:
        The number of changed convolutions.
    """
    changed = 0
    for module in model.modules():
        # The strings "same" and "valid" count as padding, too.
        if (
            isinstance(module, _PADDED)
            and module.padding_mode == "zeros"
            and any(side != 0 for side in module.padding)
        ):
            module.padding_mode = "circular"
            changed += 1
    return changed


class _Ends(nn.Module):
    """Computes weighted sums of the first and the last feature of each input."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        # Skips the default initialisation, which would use the global generator.
        self.layer = skip_init(nn.Linear, 2, len(weight), bias=False)
        self.layer.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute (N, outputs) from (N, ...)."""
        features = inputs.flatten(1)
        both = torch.cat([features[:, :1], features[:, -1:]], 1)
        sums: Tensor = self.layer(both)
        return sums


def ends_weighted(model: nn.Module, weight: Tensor) -> Wrapped:
    """Return the model plus a linear function of the first and the last feature.

    Args:
        model: a model with outputs (N, outputs).
        weight: (outputs, 2), in the dtype of the inputs.
    """
    return Wrapped(model, beside=_Ends(weight))
