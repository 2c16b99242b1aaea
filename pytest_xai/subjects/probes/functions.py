"""Networks other than chains of layers: polynomials, powers, maxima."""

import torch
from torch import Tensor, nn

from pytest_xai.subjects.probes.games import Monomials

__all__ = ["Polynomial", "Powers", "largest"]


class Polynomial(nn.Module):
    """A polynomial that is linear in each input, (N, n) to (N, 1).

    Args:
        monomials: coefficients by the indices of the multiplied inputs; () is the constant.
    """

    def __init__(self, monomials: Monomials) -> None:
        super().__init__()
        self.monomials = dict(monomials)

    def forward(self, inputs: Tensor) -> Tensor:
        """Add up the monomials."""
        total = torch.zeros_like(inputs[:, 0])
        for players, coefficient in self.monomials.items():
            term = torch.full_like(total, coefficient)
            for player in players:
                term = term * inputs[:, player]
            total = total + term
        return total.unsqueeze(1)


class Powers(nn.Module):
    """The product of powers x_1^{a_1} ... x_n^{a_n}, (N, n) to (N, 1).

    Args:
        exponents: positive integers.
    """

    def __init__(self, exponents: tuple[int, ...]) -> None:
        super().__init__()
        self.exponents = exponents

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply the powers."""
        total = torch.ones_like(inputs[:, 0])
        for place, exponent in enumerate(self.exponents):
            total = total * inputs[:, place] ** exponent
        return total.unsqueeze(1)


def largest(features: int) -> nn.Sequential:
    """Return the maximum of the inputs as a max-pooling over all of them, (N, n) to (N, 1)."""
    return nn.Sequential(nn.Unflatten(1, (1, features)), nn.MaxPool1d(features), nn.Flatten())
