"""Hypothesis strategies: random small networks and what belongs to them, for ``@given`` tests."""

from pytest_xai.strategies.plans import plans
from pytest_xai.strategies.random_networks import GeneratedSubject, networks, subjects
from pytest_xai.strategies.tensors import baselines, inputs, perturbations, targets

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
