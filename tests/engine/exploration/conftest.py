"""Small collections, so that a run over all of them takes a second."""

import pytest
import torch

from pytest_xai import subjects
from pytest_xai.core.subject import Subject
from pytest_xai.engine.exploration import generated_networks, known_maps
from pytest_xai.networks import STRUCTURES

NAMES = ("linear", "max-pool", "max-pool-1d")


@pytest.fixture
def small(monkeypatch):
    """Three structures, a random network, one probe, and few digits."""
    chosen = {name: STRUCTURES[name] for name in NAMES}
    made = dict(list(known_maps.probes().items())[:1])
    monkeypatch.setattr(generated_networks, "STRUCTURES", chosen)
    monkeypatch.setattr(generated_networks, "NETWORKS", 1)
    monkeypatch.setattr(known_maps, "probes", lambda: made)
    digits = subjects.load_digits()
    few = Subject(digits.model, digits.inputs[:4], targets=digits.targets[:4], name="digits")
    monkeypatch.setattr(subjects, "load_digits", lambda: few)
    return chosen


@pytest.fixture
def nan_behind_pools():
    """An explainer that has no number where a model has a max-pool."""

    def explain(model, inputs, targets):
        pooled = any("MaxPool" in type(module).__name__ for module in model.modules())
        return torch.full_like(inputs, torch.nan if pooled else 1.0)

    return explain
