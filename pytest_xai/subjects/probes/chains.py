"""Closed forms on chains of linear layers with a ReLU between each two, by matrices alone.

A chain is given by its weights W_l (out, in) and biases b_l (out,), l = 1 .. L: z_l = W_l a_{l-1} +
b_l, a_l = relu(z_l) for l < L, and the output is z_L. Nothing here differentiates or samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Chain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """The layers, what is explained and the reference.

    Attributes:
        weights: (out, in) of each layer.
        biases: (out,) of each layer, zeros where there are none.
        inputs: (N, features).
        baseline: (N, features).
        targets: LongTensor (N,).
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    inputs: Tensor
    baseline: Tensor
    targets: Tensor

    def sums(self, inputs: Tensor) -> list[Tensor]:
        """z_l of every layer, (N, out) each."""
        found: list[Tensor] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            found.append((found[-1].relu() if found else inputs) @ weight.T + bias)
        return found

    def gradient(self) -> Tensor:
        """W_1' D_1 W_2' D_2 ... w_t with D_l = diag(z_l > 0), (N, features)."""
        masks = [(z > 0).to(z) for z in self.sums(self.inputs)]
        return self._back(lambda signal, layer: signal * masks[layer])

    def guided(self) -> Tensor:
        """The gradient with every signal at a ReLU rectified (Springenberg 2015, figure 1)."""
        masks = [(z > 0).to(z) for z in self.sums(self.inputs)]
        return self._back(lambda signal, layer: signal.relu() * masks[layer])

    def deconvolution(self) -> Tensor:
        """Rectified signals alone, whatever the forward pass did (Zeiler 2014)."""
        return self._back(lambda signal, _: signal.relu())

    def rescale(self) -> Tensor:
        """(x - x') times W_1' M_1 W_2' M_2 ... w_t, M_l the slopes of secants (Shrikumar 2017).

        A ReLU's multiplier is (relu z - relu z') / (z - z'), and its derivative where z = z'.
        """
        at, reference = self.sums(self.inputs), self.sums(self.baseline)
        slopes = [_secant(z, y) for z, y in zip(at, reference, strict=True)]
        return (self.inputs - self.baseline) * self._back(lambda s, layer: s * slopes[layer])

    def reveal_cancel(self) -> Tensor:
        """RevealCancel of a single hidden layer (Shrikumar 2017, section 3.5.3).

        A neuron with the positive part p and the negative part q of its change from y passes on
        d+ = [g(y+p) - g(y) + g(y+q+p) - g(y+q)] / 2 to the summands of p, and d- likewise to q's.
        """
        hidden, out = self.weights
        summands = (self.inputs - self.baseline)[:, None, :] * hidden
        p, q = summands.clamp(min=0).sum(2), summands.clamp(max=0).sum(2)
        y = self.sums(self.baseline)[0]
        both = (y + p + q).relu()
        plus = ((y + p).relu() - y.relu() + both - (y + q).relu()) / 2
        minus = ((y + q).relu() - y.relu() + both - (y + p).relu()) / 2
        shares = torch.where(
            summands > 0, _ratio(plus, p)[:, :, None], _ratio(minus, q)[:, :, None]
        )
        passed: Tensor = (out[self.targets][:, :, None] * summands * shares).sum(1)
        return passed

    def _back(self, at_relu: Callable[[Tensor, int], Tensor]) -> Tensor:
        signal = self.weights[-1][self.targets]
        for layer in range(len(self.weights) - 2, -1, -1):
            signal = at_relu(signal, layer) @ self.weights[layer]
        return signal


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """The ratio, and 0 where it has none."""
    return torch.where(below != 0, above / torch.where(below != 0, below, 1), 0)


def _secant(z: Tensor, y: Tensor) -> Tensor:
    return torch.where(z == y, (z > 0).to(z), _ratio(z.relu() - y.relu(), z - y))
