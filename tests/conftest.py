"""What every test starts from: one thread, and neither slow nor GPU tests unasked."""

import pytest
import torch

pytest_plugins = ["pytester"]

# The suite runs beside others, on few cores, and sums in one order only when one thread adds them.
torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow and GPU tests to a run that chooses by marker: ``pytest -m slow``."""
    if config.option.markexpr:
        return
    wanted: list[pytest.Item] = []
    unasked: list[pytest.Item] = []
    for item in items:
        costly = any(item.iter_markers("slow")) or any(item.iter_markers("gpu"))
        (unasked if costly else wanted).append(item)
    config.hook.pytest_deselected(items=unasked)
    items[:] = wanted
