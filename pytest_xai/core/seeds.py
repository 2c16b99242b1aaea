"""Seeds derived from names, and the global generators, which only guests use.

So neither order, nor selection, nor the number of workers matters.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["RandomState", "derive_seed", "generator", "seeded"]


def derive_seed(*parts: object) -> int:
    """A seed from 0 to 2**63 - 1 that depends on all parts and on nothing else."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A generator of its own, on the CPU so that draws don't depend on the device."""
    return torch.Generator().manual_seed(derive_seed(*parts))


@dataclass(frozen=True, slots=True)
class RandomState:
    """The states of the global generators of torch (all devices), numpy and python."""

    torch: Tensor
    cuda: list[Tensor]
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> "RandomState":
        """Read the states."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        legacy = np.random.get_state()  # noqa: NPY002  # guests draw from numpy's global generator
        return cls(torch.get_rng_state(), cuda, legacy, random.getstate())

    def restore(self) -> None:
        """Give the generators these states."""
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        np.random.set_state(self.numpy)  # noqa: NPY002  # as above
        random.setstate(self.python)

    def differing(self, other: "RandomState") -> set[str]:
        """Names of the generators whose states differ: "torch", "numpy", "python"."""
        names = set()
        if not torch.equal(self.torch, other.torch) or any(
            not torch.equal(a, b) for a, b in zip(self.cuda, other.cuda, strict=True)
        ):
            names.add("torch")
        # The position, and the normal value that is kept for the next draw.
        if self.numpy[2:] != other.numpy[2:] or not np.array_equal(self.numpy[1], other.numpy[1]):
            names.add("numpy")
        if self.python != other.python:
            names.add("python")
        return names


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and python, and give their states back."""
    before = RandomState.now()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  # as above
        random.seed(seed)
        yield
    finally:
        before.restore()
