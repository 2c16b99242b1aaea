"""Closed forms by matrix products, for chains of linear layers with ReLUs between them.

A chain is given by its weights W_l (out, in) and biases b_l (out,), l = 1 .. L: z_l = W_l a_{l-1} +
b_l, a_l = relu(z_l) for l < L, and the output is z_L. The code neither differentiates nor samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Chain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """A chain of layers with its inputs, targets and baseline.

    Attributes:
        weights: (out, in) of each layer.
        biases: (out,) of each layer; zeros for layers without biases.
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
        """Return z_l of every layer, (N, out) each."""
        found: list[Tensor] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            found.append((found[-1].relu() if found else inputs) @ weight.T + bias)
        return found

    def gradient(self) -> Tensor:
        """Return W_1' D_1 W_2' D_2 ... w_t with D_l = diag(z_l > 0), (N, features)."""
        masks = [(z > 0).to(z) for z in self.sums(self.inputs)]
        return self._back(lambda signal, layer: signal * masks[layer])

    def guided(self) -> Tensor:
        """Return the gradient with signals rectified at each ReLU (Springenberg 2015, figure 1)."""
        masks = [(z > 0).to(z) for z in self.sums(self.inputs)]
        return self._back(lambda signal, layer: signal.relu() * masks[layer])

    def deconvolution(self) -> Tensor:
        """Return the rectified signals, independent of the forward pass (Zeiler 2014)."""
        return self._back(lambda signal, _: signal.relu())

    def rescale(self) -> Tensor:
        """Return (x - x') W_1' M_1 W_2' M_2 ... w_t, M_l secant slopes (Shrikumar 2017).

        A ReLU's multiplier is (relu z - relu z') / (z - z'), and its derivative where z = z'.
        """
        at, reference = self.sums(self.inputs), self.sums(self.baseline)
        slopes = [_secant(z, y) for z, y in zip(at, reference, strict=True)]
        return (self.inputs - self.baseline) * self._back(lambda s, layer: s * slopes[layer])

    def reveal_cancel(self) -> Tensor:
        """Return RevealCancel for a single hidden layer (Shrikumar 2017, section 3.5.3).

        A neuron whose change from y has the positive part p and the negative part q gives
        d+ = [g(y+p) - g(y) + g(y+q+p) - g(y+q)] / 2 to the summands of p, and d- to those of q.
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
    """Return the ratio, and 0 for a denominator of 0."""
    return torch.where(below != 0, above / torch.where(below != 0, below, 1), 0)


def _secant(z: Tensor, y: Tensor) -> Tensor:
    return torch.where(z == y, (z > 0).to(z), _ratio(z.relu() - y.relu(), z - y))
