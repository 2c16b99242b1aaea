"""Hypothesis strategies: random small networks and what belongs to them, for ``@given`` tests."""

from pytest_xai.optional import require

require("hypothesis", extra="strategies")

# Behind the line above, so that who lacks hypothesis is told what to install.
from pytest_xai.strategies.networks import GeneratedSubject, networks, subjects  # noqa: E402
from pytest_xai.strategies.plans import plans  # noqa: E402
from pytest_xai.strategies.tensors import baselines, inputs, perturbations, targets  # noqa: E402

__all__ = [
    "GeneratedSubject",
    "baselines",
    "inputs",
    "networks",
    "perturbations",
    "plans",
    "subjects",
    "targets",
]
