"""Hypothesis strategies for random small networks, their inputs and targets, and subjects."""

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
