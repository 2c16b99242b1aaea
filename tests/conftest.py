"""What every test starts from: one thread, the same seeds, neither slow nor GPU tests unasked."""

import pytest
import torch

from fixtures.loops import seed_all

pytest_plugins = ["pytester"]

# The suite runs beside others, on few cores, and sums in one order only when one thread adds them.
torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests to a run that chooses by marker, and GPU tests to one that names theirs."""
    chosen = config.option.markexpr
    kept: list[pytest.Item] = []
    unasked: list[pytest.Item] = []
    for item in items:
        if any(item.iter_markers("gpu")):
            asked = "gpu" in chosen
        else:
            asked = bool(chosen) or not any(item.iter_markers("slow"))
        (kept if asked else unasked).append(item)
    config.hook.pytest_deselected(items=unasked)
    items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Layers that tests build have the same weights in every run, alone or after other tests."""
    seed_all()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """The same whether or not fixtures that are shared were set up for this test."""
    seed_all()
