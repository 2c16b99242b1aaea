"""Seeds derived from names, and control of the global random generators.

Results therefore do not depend on the order or selection of the checks, nor on the number of
workers. Only models and explainers use the global generators.
"""

import functools
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
    """Return a seed from 0 to 2**63 - 1 that depends only on the parts."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """Return a new generator, on the CPU so that its numbers do not depend on the device."""
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
        """Return the current states."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        legacy = np.random.get_state()  # noqa: NPY002  # models and explainers may use it
        return cls(torch.get_rng_state(), cuda, legacy, random.getstate())

    def restore(self) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        np.random.set_state(self.numpy)  # noqa: NPY002  # as above
        random.setstate(self.python)

    def differing(self, other: "RandomState") -> set[str]:
        """Return the names of the generators that differ: "torch", "numpy", "python"."""
        names = set()
        if not torch.equal(self.torch, other.torch) or any(
            not torch.equal(a, b) for a, b in zip(self.cuda, other.cuda, strict=True)
        ):
            names.add("torch")
        # The position in the stream, and the cached value of the normal distribution.
        if self.numpy[2:] != other.numpy[2:] or not np.array_equal(self.numpy[1], other.numpy[1]):
            names.add("numpy")
        if self.python != other.python:
            names.add("python")
        return names


@functools.cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


def _seed_torch(seed: int) -> None:
    """Seed torch's generators.

    Without an accelerator, `torch.manual_seed` would keep every call, with its formatted stack, for
    a device that is never initialised: milliseconds and memory for each call of a guest.
    """
    if _has_accelerator():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and python, and restore them on exit."""
    before = RandomState.now()
    try:
        _seed_torch(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  # as above
        random.seed(seed)
        yield
    finally:
        before.restore()
