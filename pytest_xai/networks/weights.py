"""Source code that sets the weights of a network and creates its inputs.

All numbers are fractions whose denominator is a power of two. They are exact in every dtype, and
do not depend on the default dtype of torch.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["WEIGHTS", "drawn_inputs", "drawn_weights", "literal", "literal_weights"]

# Number of levels on each side of zero. "ones": all weights equal, all biases zero.
WEIGHTS = {"ones": 0, "quarters": 4, "fine": 1024}


def drawn_weights(weights: str, *, seed: int, fan_in: int, statistics: bool) -> str:
    """Return source code that sets the weights of ``model`` from a random generator.

    Args:
        weights: a key of `WEIGHTS`.
        seed: seed of the generator.
        fan_in: largest number of terms in a sum; a larger fan-in gets smaller weights.
        statistics: the model has running statistics, whose variances must be positive.
    """
    divisor = next(size for size in (1, 2, 4, 8) if fan_in <= 4 * size**2 or size == 8)
    levels = WEIGHTS[weights]
    if not levels:
        return (
            "for name, tensor in model.state_dict().items():\n"
            f'    tensor.fill_(0.0 if name.endswith("bias") else {1 / divisor})'
        )
    lines = [
        f"generator = torch.Generator().manual_seed({seed})",
        # From the end, so that the other layers keep their weights when shrinking removes the first
        # layer, and mostly show the same error.
        "for name, tensor in reversed(model.state_dict().items()):",
        f"    draw = torch.randint({-levels}, {levels + 1}, tensor.shape, generator=generator)",
        f"    tensor.copy_(draw / {levels * divisor})",
    ]
    if statistics:
        lines += ['    if name.endswith("running_var"):', "        tensor.abs_().add_(0.5)"]
    return "\n".join(lines)


def literal_weights(state: Mapping[str, Tensor]) -> str:
    """Return source code that sets the weights of ``model`` to these values."""
    rows = [f'    "{name}": {literal(tensor)},' for name, tensor in state.items()]
    return "\n".join(["model.load_state_dict({", *rows, "})"])


def literal(tensor: Tensor) -> str:
    """Return source code of a tensor."""
    double = ", dtype=torch.float64" if tensor.dtype == torch.float64 else ""
    return f"torch.tensor({tensor.tolist()}{double})"


def drawn_inputs(shape: tuple[int, ...], *, weights: str, seed: int, double: bool) -> str:
    """Return source code of inputs in [-2, 2]: halves, or a fine grid for fine weights."""
    levels = WEIGHTS[weights] if weights == "fine" else 2
    suffix = ".double()" if double else ""
    return (
        f"generator = torch.Generator().manual_seed({seed})\n"
        f"inputs = torch.randint({-2 * levels}, {2 * levels + 1}, {shape}, generator=generator)"
        f"{suffix} / {levels}"
    )
