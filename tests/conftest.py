"""What every test starts from: one thread, the same seeds, neither slow nor GPU tests unasked."""

import random

import numpy as np
import pytest
import torch

pytest_plugins = ["pytester"]

# The suite runs beside others, on few cores, and sums in one order only when one thread adds them.
torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests to a run that chooses by marker, and GPU tests to one that names theirs."""
    chosen = config.option.markexpr
    wanted: list[pytest.Item] = []
    unasked: list[pytest.Item] = []
    for item in items:
        if any(item.iter_markers("gpu")):
            asked = "gpu" in chosen
        else:
            asked = bool(chosen) or not any(item.iter_markers("slow"))
        (wanted if asked else unasked).append(item)
    config.hook.pytest_deselected(items=unasked)
    items[:] = wanted


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Layers that tests build have the same weights in every run, alone or after other tests."""
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """The same whether or not fixtures that are shared were set up for this test."""
    _seed()


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)  # explainers under test draw from the global generator
    torch.manual_seed(0)
