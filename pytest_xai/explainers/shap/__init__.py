"""Explainers of shap."""

from pytest_xai.explainers.adapting.entry import Entry
from pytest_xai.explainers.shap import deep, gradient, kernel, partition

__all__ = ["ENTRIES"]

ENTRIES: dict[str, Entry] = {
    **deep.ENTRIES,
    **gradient.ENTRIES,
    **kernel.ENTRIES,
    **partition.ENTRIES,
}
