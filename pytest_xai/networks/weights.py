"""The source that fills a network with weights, and that makes its inputs.

All numbers are fractions with a power of two below the line: they are the same in every dtype, and
what is drawn does not depend on torch's default dtype.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["WEIGHTS", "drawn_inputs", "drawn_weights", "literal", "literal_weights"]

# Levels on either side of zero. "ones": all weights the same, biases zero.
WEIGHTS = {"ones": 0, "quarters": 4, "fine": 1024}


def drawn_weights(weights: str, *, seed: int, fan_in: int, statistics: bool) -> str:
    """Source that fills ``model`` from a generator.

    Args:
        weights: a key of `WEIGHTS`.
        seed: of the generator.
        fan_in: largest number of terms in a sum: more of them get smaller weights.
        statistics: there are running statistics, whose variances must be positive.
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
        # From the end: a network without its first layer has the other layers' weights still, and
        # so mostly the defect that is being shrunk.
        "for name, tensor in reversed(model.state_dict().items()):",
        f"    draw = torch.randint({-levels}, {levels + 1}, tensor.shape, generator=generator)",
        f"    tensor.copy_(draw / {levels * divisor})",
    ]
    if statistics:
        lines += ['    if name.endswith("running_var"):', "        tensor.abs_().add_(0.5)"]
    return "\n".join(lines)


def literal_weights(state: Mapping[str, Tensor]) -> str:
    """Source that fills ``model`` with these tensors, written out."""
    rows = [f'    "{name}": {literal(tensor)},' for name, tensor in state.items()]
    return "\n".join(["model.load_state_dict({", *rows, "})"])


def literal(tensor: Tensor) -> str:
    """Source of a tensor, written out."""
    double = ", dtype=torch.float64" if tensor.dtype == torch.float64 else ""
    return f"torch.tensor({tensor.tolist()}{double})"


def drawn_inputs(shape: tuple[int, ...], *, weights: str, seed: int, double: bool) -> str:
    """Source of inputs from -2 to 2: halves, or on a fine grid where the weights are."""
    levels = WEIGHTS[weights] if weights == "fine" else 2
    suffix = ".double()" if double else ""
    return (
        f"generator = torch.Generator().manual_seed({seed})\n"
        f"inputs = torch.randint({-2 * levels}, {2 * levels + 1}, {shape}, generator=generator)"
        f"{suffix} / {levels}"
    )
